"""Dense float64 oracles of the layers, in numpy, straight from the paper and sharing no code with the package."""

import itertools

import numpy as np
from scipy.signal import convolve2d


def dense_matrix(kernel, height, width):
    """Return V of a zero-padded convolution as a matrix (inner·h·w, channels·h·w), one entry at a time."""
    inner, channels, size, _ = kernel.shape
    matrix = np.zeros((inner, height, width, channels, height, width))
    for i, c, a, b in itertools.product(range(inner), range(channels), range(size), range(size)):
        for y, x in itertools.product(range(height), range(width)):
            source = y + a - size // 2, x + b - size // 2
            if 0 <= source[0] < height and 0 <= source[1] < width:
                matrix[i, y, x, c, *source] = kernel[i, c, a, b]
    return matrix.reshape(inner * height * width, -1)


def gram_kernel(kernel):
    """Return WᵀW of a convolution on the infinite plane, as a kernel (inner, inner, 2k − 1, 2k − 1)."""
    inner, _, size, _ = kernel.shape
    gram = np.zeros((inner, inner, 2 * size - 1, 2 * size - 1))
    padded = np.pad(kernel, ((0, 0), (0, 0), (size - 1, size - 1), (size - 1, size - 1)))
    for i, j in itertools.product(range(inner), repeat=2):
        for dy, dx in itertools.product(range(2 * size - 1), repeat=2):
            gram[i, j, dy, dx] = (padded[i, :, dy : dy + size, dx : dx + size] * kernel[j]).sum()
    return gram


def absolute_row_sums(weight, power=1):
    """Return |(WᵀW)ᵏ| between units: entries for a dense weight, sums over all shifts for a kernel."""
    if weight.ndim == 2:
        return np.abs(np.linalg.matrix_power(weight @ weight.T, power))
    gram = result = gram_kernel(weight)
    for _ in range(power - 1):
        units = range(len(gram))
        result = np.array(
            [[sum(convolve2d(result[i, m], gram[m, j]) for m in units) for j in units] for i in units],
        )
    return np.abs(result).sum((2, 3))


def sll_t(gram, log_q):
    """Return T of equation 8, one entry at a time."""
    n = len(log_q)
    return np.array([sum(gram[i, j] * np.exp(log_q[j] - log_q[i]) for j in range(n)) for i in range(n)])


def sll(power):
    """Return the oracle of SLL with the k-th power."""

    def oracle(layer, x):
        weight, bias, log_q = (p.detach().numpy() for p in (layer.weight, layer.bias, layer.log_q))
        t = sll_t(absolute_row_sums(weight, power), log_q) ** (1 / power)
        positions = 1
        matrix = weight
        if weight.ndim == 4:
            positions = x.shape[2] * x.shape[3]
            matrix = dense_matrix(weight, *x.shape[2:])
        t, bias = np.repeat(t, positions), np.repeat(bias, positions)
        flat = x.reshape(len(x), -1)
        hidden = np.maximum(flat @ matrix.T + bias, 0)
        return (flat - 2 * (hidden / t) @ matrix).reshape(x.shape)

    return oracle


def aol(layer, x):
    """Return W T^{-1/2} x + b with T from the columns of W."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    factor = absolute_row_sums(weight.swapaxes(0, 1)).sum(1) ** -0.5
    scaled = weight * factor.reshape(1, -1, *(1,) * (weight.ndim - 2))
    matrix, positions = scaled, 1
    if weight.ndim == 4:
        matrix, positions = dense_matrix(scaled, *x.shape[2:]), x.shape[2] * x.shape[3]
    return (x.reshape(len(x), -1) @ matrix.T + np.repeat(bias, positions)).reshape(len(x), len(bias), *x.shape[2:])


def circular_matrix(kernel, height, width):
    """Return a circular convolution as a matrix (out·h·w, in·h·w); a kernel that exceeds the image goes around it."""
    out, channels, size, _ = kernel.shape
    matrix = np.zeros((out, height, width, channels, height, width))
    for a, b, y, x in itertools.product(range(size), range(size), range(height), range(width)):
        matrix[:, y, x, :, (y - a + size // 2) % height, (x - b + size // 2) % width] += kernel[:, :, a, b]
    return matrix.reshape(out * height * width, -1)


def cayley(m):
    """Return the Cayley transform of a real matrix, dense or of a whole convolution."""
    rows, cols = m.shape
    if rows < cols:
        return cayley(m.T).T
    u, v = m[:cols], m[cols:]
    a = u - u.T + v.T @ v
    return np.vstack([np.eye(cols) - a, -2 * v]) @ np.linalg.inv(np.eye(cols) + a)


def orthonormal(layer, x):
    """Return the Cayley transform of the normalised weight of a layer, as an operator on inputs like x."""
    weight = layer.weight.detach().numpy()
    weight = weight * np.exp(layer.log_norm.item()) / np.sqrt((weight**2).sum())
    return cayley(weight if weight.ndim == 2 else circular_matrix(weight, *x.shape[2:]))


def along_pixels(values, x):
    return np.repeat(values.detach().numpy(), int(np.prod(x.shape[2:])))


def orthogonal(layer, x):
    """Return Q x + b."""
    y = x.reshape(len(x), -1) @ orthonormal(layer, x).T + along_pixels(layer.bias, x)
    return y.reshape(len(x), len(layer.bias), *x.shape[2:])


def bro(layer, x):
    """Return x − 2 W (WᵀW + δ I)⁻¹ Wᵀ x + b in as many channels as there are outputs, W of unit norm; x is padded with zeros."""
    v = layer.weight.detach().numpy()
    v = v / np.sqrt((v**2).sum())
    v = v if v.ndim == 2 else circular_matrix(v, *x.shape[2:])
    padded = np.zeros((len(x), layer.weight.shape[1], *x.shape[2:]))
    padded[:, : x.shape[1]] = x
    flat = padded.reshape(len(x), -1)
    y = flat - 2 * np.linalg.solve(v @ v.T + 1e-12 * np.eye(len(v)), v @ flat.T).T @ v
    return y.reshape(padded.shape)[:, : len(layer.bias)] + layer.bias.detach().numpy().reshape(-1, *(1,) * (x.ndim - 2))


def sandwich(layer, x):
    """Return √2 Aᵀ Ψ relu(√2 Ψ⁻¹ B x + b), where [Aᵀ; Bᵀ] is a matrix with orthonormal columns."""
    q, psi, bias = orthonormal(layer, x), np.exp(along_pixels(layer.log_psi, x)), along_pixels(layer.bias, x)
    a, b = q[: len(bias)].T, q[len(bias) :].T
    hidden = np.maximum(2**0.5 * (x.reshape(len(x), -1) @ b.T) / psi + bias, 0)
    return (2**0.5 * (psi * hidden) @ a).reshape(len(x), len(layer.bias), *x.shape[2:])


def recurrent(layer, x, oracle):
    """Return the last state of s ← the last numbers of cell([s, x_t]), where the cell is one layer with an oracle."""
    states = []
    for image in x:
        state = np.zeros(layer.state)
        for step in range(image.shape[1]):
            state = oracle(layer.cell[0], np.concatenate([state, image[:, step].ravel()])[None])[0, layer.inputs :]
        states.append(state)
    return np.array(states)


def lipschitz_rnn(cell, x, state):
    """Return h + ε (A h + tanh(W h + U x + b)) for one input, A and W one entry at a time."""
    n = len(state)
    a, w = np.zeros((2, n, n))
    for matrix, parameter in ((a, cell.m_a), (w, cell.m_w)):
        m = parameter.detach().numpy()
        for i, j in itertools.product(range(n), repeat=2):
            matrix[i, j] = (1 - cell.beta) * (m[i, j] + m[j, i]) + cell.beta * (m[i, j] - m[j, i]) - cell.gamma * (i == j)
    u, b = (parameter.detach().numpy() for parameter in (cell.entry.weight, cell.entry.bias))
    return state + cell.epsilon * (a @ state + np.tanh(w @ state + u @ x + b))


def sortnet(layer, x):
    """Return Σᵢ (1 − ρ) ρ^(i−1) times the i-th largest |x + b_k|, over all i; a head has the other sign."""
    offsets, sign = layer.weight.detach().numpy(), -1 if type(layer).__name__ == "SortHead" else 1
    y = np.zeros((len(x), len(offsets)))
    for image, (k, b) in itertools.product(range(len(x)), enumerate(offsets)):
        for place, distance in enumerate(sorted(abs(x[image] + b), reverse=True)):
            y[image, k] += sign * (1 - layer.rho) * layer.rho**place * distance
    return y


ORACLES = {
    "sll": sll(1),
    "sll2": sll(2),
    "sll4": sll(4),
    "sll8": sll(8),
    "aol": aol,
    "orthogonal": orthogonal,
    "bro": bro,
    "sandwich": sandwich,
    "sortnet": sortnet,
}
