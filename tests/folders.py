"""Images on disk, for tests of code that reads them."""

from PIL import Image


def write_images(root, images, labels):
    """Write images (n, 1, height, width) in [0, 1] as PNG, in a folder for each label, and return their paths."""
    paths = []
    for index, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        path = root / str(label) / f"{index:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * image[0]).round().byte().numpy()).save(path)
        paths.append(path)
    return paths
