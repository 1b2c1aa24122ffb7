"""Every tolerance of the suite, with its reason."""

# Float64 rounding of a gain near 1: sums of a few hundred products at 1.1e-16 each, through an SVD.
GAIN = 1e-9
# Eigenvalues of T - WᵀW relative to the largest T: backward error of a symmetric eigensolver.
EIGENVALUE = 1e-12
# Two float64 evaluations of the same formula in another order.
SAME = 1e-11
# A layer's output under bfloat16 autocast, relative to the norm of its input: two products rounded to 8 bits (2⁻⁹ each) with
# cancellation between x and the residual; the largest over the suite's layers, measured on a CPU, is 0.008.
BF16 = 0.02
# Logits and features, near 1, of a grown network in float64: new weights of 1e-15 times the old ones, over ten layers.
GROWN = 1e-12
# Float32 rounding of a gain near 1: as GAIN, at 6e-8 each.
FLOAT32 = 1e-5
# Derivatives in float32 beside those in float64, by their norms: sums of a few hundred products at 6e-8 each; |WᵀW| q is at 3e-7.
DERIVATIVE32 = 1e-6
# Colours in [0, 1] after four steps in float32, with the same operations in another order; the largest difference seen is 3.4e-6.
COLOUR = 1e-5
# A grey image against the same with three channels: torchvision's weights of the channels sum to 0.9999.
GREY = 1e-3
# Logits of a folded network in float64, relative to the largest: the same products; the bound that folding is held to.
FOLD = 1e-12
# A norm of five numbers for p = 1000 beside their maximum, relative: at most 5^(1/1000) - 1 = 0.0016. Rounding is far below: the
# root divides by p what the power multiplies by it.
POWER = 2e-3
# Slopes by differences in float64 over 2e-6, and points that 20 bisections found on a way of 4.
SLOPE = 1e-5
# The length of a gradient, near 1, behind ten block reflectors of T = WᵀW + δ with a tiny δ; the largest loss seen is 1.3e-9.
REFLECTED = 1e-7
# A radius as samples.csv has it: rounded down to five digits after the point.
WRITTEN_RADIUS = 1e-5
# A radius that was computed on another machine, in float64, as in recertify.
OTHER_MACHINE = 1e-9
# A gradient in float64, by its norm, as a sum over parts of a batch: the same products, added up in another order.
ACCUMULATED = 1e-10
# Two bounds of the same rounding, relative: the formulas add the same terms, and round each sum up by 1e-9.
SLACK = 1e-6
