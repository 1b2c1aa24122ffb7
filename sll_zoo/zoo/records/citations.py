"""The papers that a model's configuration names, as BibTeX."""

from __future__ import annotations

import re

CITATIONS = {
    "2303.03169": r"""@inproceedings{araujo2023unified,
  title     = {A Unified Algebraic Perspective on {L}ipschitz Neural Networks},
  author    = {Araujo, Alexandre and Havens, Aaron and Delattre, Blaise and Allauzen, Alexandre and Hu, Bin},
  booktitle = {International Conference on Learning Representations},
  year      = {2023},
  url       = {https://arxiv.org/abs/2303.03169}
}""",
    "2210.01787": r"""@inproceedings{zhang2022rethinking,
  title     = {Rethinking {L}ipschitz Neural Networks and Certified Robustness: A {B}oolean Function Perspective},
  author    = {Zhang, Bohang and Jiang, Du and He, Di and Wang, Liwei},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2022},
  url       = {https://arxiv.org/abs/2210.01787}
}""",
    "2006.12070": r"""@inproceedings{erichson2021lipschitz,
  title     = {{L}ipschitz Recurrent Neural Networks},
  author    = {Erichson, N. Benjamin and Azencot, Omri and Queiruga, Alejandro and Hodgkinson, Liam and Mahoney, Michael W.},
  booktitle = {International Conference on Learning Representations},
  year      = {2021},
  url       = {https://arxiv.org/abs/2006.12070}
}""",
    "2206.06854": r"""@inproceedings{serrurier2023explainable,
  title     = {On the explainable properties of 1-{L}ipschitz Neural Networks: An Optimal Transport Perspective},
  author    = {Serrurier, Mathieu and Mamalet, Franck and Fel, Thomas and B{\'e}thune, Louis and Boissin, Thibaut},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2023},
  url       = {https://arxiv.org/abs/2206.06854}
}""",
}


def citations(paper_ids: str) -> str:
    """Return the BibTeX entries of the papers that are known, in the order of ``paper_ids``, such as ``arXiv:2303.03169``."""
    return "\n\n".join(CITATIONS[paper] for paper in re.findall(r"\d{4}\.\d{5}", paper_ids) if paper in CITATIONS)
