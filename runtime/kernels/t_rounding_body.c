/* t_rounding_body.c -- DeterministicRounding and StochasticRounding in standard operators, opset 12
 * and later, so that any runtime executes a model that still has them. Each text is the formula of
 * t_rounding.c, bit for bit on input of magnitude up to 3.4e38; it does not know the optional range
 * inputs, and it needs U. Every attribute must stand on the node: a reference to a missing one has
 * no value.
 */
#include "runtime/runtime.h"

#define ATTRIBUTES \
	"<compat, grad, input_range, maintain_zero, num_levels, output_range, range_kind>"

#define NUMBERS                                                                      \
	"zero2 = Constant <value = float[2] {0.0, 0.0}> () "                         \
	"pair = Constant <value = int64[2] {0, 1}> () "                              \
	"i0 = Constant <value_int = 0> () i1 = Constant <value_int = 1> () "         \
	"zero = Constant <value = double {0.0}> () "                                 \
	"one = Constant <value = double {1.0}> () "                                  \
	"ten = Constant <value = double {10.0}> () "                                 \
	"six = Constant <value = double {6.0}> () "                                  \
	"keep = Constant <value_int: int = @maintain_zero> () "                      \
	"mz = Cast <to = 9> (keep) nl = Constant <value_int: int = @num_levels> () " \
	"levels = Cast <to = 11> (nl) steps = Sub (levels, one) "

/* <p>given, and the ends <p>_0 and <p>_1 as the decimal numbers that the floats stand for. */
#define RANGE(p, attribute)                                                                   \
	p "attr = Constant <value_floats: floats = @" attribute "> () " p "size = Size (" p   \
	  "attr) " p "given = Cast <to = 9> (" p "size) " p "padded = Concat <axis = 0> (" p  \
	  "attr, zero2) " p "f = Gather <axis = 0> (" p "padded, pair) " p                    \
	  "d = Cast <to = 11> (" p "f) " p "abs = Abs (" p "d) " p "isz = Equal (" p          \
	  "abs, zero) " p "pos = Where (" p "isz, one, " p "abs) " p "ln = Log (" p "pos) " p \
	  "ln10 = Log (ten) " p "lg = Div (" p "ln, " p "ln10) " p "e = Floor (" p "lg) " p   \
	  "k = Sub (six, " p "e) " p "scale = Pow (ten, " p "k) " p "big = Mul (" p "d, " p   \
	  "scale) " p "int = Round (" p "big) " p "dec = Div (" p "int, " p "scale) " p       \
	  "back = Cast <to = 1> (" p "dec) " p "same = Equal (" p "back, " p "f) " p          \
	  "num = Where (" p "same, " p "dec, " p "d) " p "_0 = Gather <axis = 0> (" p         \
	  "num, i0) " p "_1 = Gather <axis = 0> (" p "num, i1) "

/* The grid gin0, gqin, gout0, gqout and levels low to high; level l. In double. */
#define DEFAULT_GRID                                                                    \
	"v = Cast <to = 11> (X) mag = Abs (v) m = ReduceMax <keepdims = 0> (mag) "      \
	"min = ReduceMin <keepdims = 0> (v) max = ReduceMax <keepdims = 0> (v) "        \
	"mzero = Equal (m, zero) m1 = Where (mzero, one, m) negm = Neg (m1) "           \
	"ownl = Where (mz, negm, min) ownh = Where (mz, m1, max) "                      \
	"in0 = Where (igiven, i_0, ownl) in1 = Where (igiven, i_1, ownh) "              \
	"out0 = Where (ogiven, o_0, in0) out1 = Where (ogiven, o_1, in1) "              \
	"win = Sub (in1, in0) wout = Sub (out1, out0) qin = Div (win, steps) "          \
	"qinz = Equal (qin, zero) qin1 = Where (qinz, one, qin) "                       \
	"qout = Div (wout, steps) given = Or (igiven, ogiven) own = Not (given) "       \
	"sym = And (mz, own) twod = Constant <value = double {2.0}> () "                \
	"halfs = Div (steps, twod) half = Floor (halfs) two = Equal (half, zero) "      \
	"half1 = Where (two, one, half) negmin = Neg (min) "                            \
	"neg = Greater (negmin, max) ext = Where (neg, min, max) "                      \
	"top = Where (two, ext, m) qs = Div (top, half1) qsf = Cast <to = 1> (qs) "     \
	"qsd = Cast <to = 11> (qsf) qabs = Abs (qs) "                                   \
	"tiny = Constant <value = double {1.1754943508222875e-38}> () "                 \
	"isub = Less (qabs, tiny) qsn = Where (isub, qs, qsd) qsz = Equal (qsn, zero) " \
	"qsym = Where (qsz, one, qsn) gin0 = Where (sym, zero, in0) "                   \
	"gout0 = Where (sym, zero, out0) gqin = Where (sym, qsym, qin1) "               \
	"gqout = Where (sym, qsym, qout) neghalf = Neg (half) "                         \
	"low = Where (sym, neghalf, zero) high = Where (sym, half1, steps) "            \
	"off = Sub (v, gin0) l = Div (off, gqin) "

#define DEFAULT_END                                                   \
	"ra = Max (r, low) rb = Min (ra, high) ys = Mul (rb, gqout) " \
	"yd = Add (ys, gout0) Y = Cast <to = 1> (yd) "

/* The grid of the reference, and level l. In float. */
#define ROCKPOOL_GRID                                                                   \
	"stepsf = Cast <to = 1> (steps) mag = Abs (X) "                                 \
	"m = ReduceMax <keepdims = 0> (mag) min = ReduceMin <keepdims = 0> (X) "        \
	"max = ReduceMax <keepdims = 0> (X) negm = Neg (m) "                            \
	"ownl = Where (mz, negm, min) ownh = Where (mz, m, max) "                       \
	"ownw = Sub (ownh, ownl) ownq = Div (ownw, stepsf) i_0f = Cast <to = 1> (i_0) " \
	"i_w = Sub (i_1, i_0) i_qd = Div (i_w, steps) i_q = Cast <to = 1> (i_qd) "      \
	"o_0f = Cast <to = 1> (o_0) o_w = Sub (o_1, o_0) o_qd = Div (o_w, steps) "      \
	"o_q = Cast <to = 1> (o_qd) gin0 = Where (igiven, i_0f, ownl) "                 \
	"gqin = Where (igiven, i_q, ownq) gout0 = Where (ogiven, o_0f, gin0) "          \
	"gqout = Where (ogiven, o_q, gqin) off = Sub (X, gin0) l = Div (off, gqin) "

#define ROCKPOOL_END "ys = Mul (r, gqout) Y = Add (ys, gout0) "

#define NEAREST "r = Round (l) "
#define BY_CHANCE(u, type)                                                  \
	"down = Floor (l) frac = Sub (l, down) up = Greater (frac, " u ") " \
	"upn = Cast <to = " type "> (up) r = Add (down, upn) "

#define RANGES RANGE("i", "input_range") RANGE("o", "output_range")
#define DETERMINISTIC "DeterministicRounding " ATTRIBUTES " (X) => (Y) { " NUMBERS RANGES
#define STOCHASTIC "StochasticRounding " ATTRIBUTES " (X, U) => (Y) { " NUMBERS RANGES

const pai_body pai_body_deterministic_rounding = {
	.none = DETERMINISTIC DEFAULT_GRID NEAREST DEFAULT_END "}",
	.rockpool = DETERMINISTIC ROCKPOOL_GRID NEAREST ROCKPOOL_END "}",
};

const pai_body pai_body_stochastic_rounding = {
	.none = STOCHASTIC DEFAULT_GRID "u = Cast <to = 11> (U) " BY_CHANCE("u", "11") DEFAULT_END
	"}",
	.rockpool = STOCHASTIC ROCKPOOL_GRID BY_CHANCE("U", "1") ROCKPOOL_END "}",
};
