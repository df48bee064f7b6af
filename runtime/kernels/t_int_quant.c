/* t_int_quant.c -- IntQuant: a tensor scaled so that its largest magnitude M is Q = 2^(n_bits-1) -
 * 1 and rounded to integers. The result is integer-valued and not scaled back.
 *
 * Default kernel: y = rne(v * Q / M), times Qmax/Q with map_to_max, Qmax = 2^(max_n_bits-1) - 1, so
 * that the number of values never passes 2^n_bits - 1. maintain_zero=0 centres the data first, so
 * both extremes reach the ends. Only finite elements make M; all zeros give zeros.
 * compat="rockpool" is the reference bit for bit: y = rne(s v), s = fl(fl(1/M) Q), which map_to_max
 * multiplies by fl(Qmax/Q) before rounding; maintain_zero=0 subtracts half the range.
 */
#include "runtime/kernels/t_stats.h"
#include <math.h>

typedef struct settings {
	pai_t_mode mode;
	bool maintain_zero, map_to_max;
	double q, q_max;
} settings;

static pai_status settings_of(pai_ctx *ctx, const pai_node *n, settings *out)
{
	int64_t bits = pai_node_int(n, "n_bits", 8), max_bits = pai_node_int(n, "max_n_bits", 8);
	*out = (settings){.maintain_zero = pai_node_int(n, "maintain_zero", 1) != 0,
			  .map_to_max = pai_node_int(n, "map_to_max", 0) != 0};
	PAI_TRY(pai_t_mode_of(ctx, n, &out->mode));
	int64_t least = out->mode.rockpool && !out->map_to_max ? 1 : 2;
	if (bits < least || bits > 24)
		return pai_fail(ctx, PAI_E_transform_attribute, pai_at_attr(n, "n_bits"),
				"is %lld, expected 2 to 24", (long long)bits);
	if (max_bits < 2 || max_bits > 24)
		return pai_fail(ctx, PAI_E_transform_attribute, pai_at_attr(n, "max_n_bits"),
				"is %lld, expected 2 to 24", (long long)max_bits);
	out->q = (double)((1 << (bits - 1)) - 1);
	out->q_max = (double)((1 << (max_bits - 1)) - 1);
	return PAI_OK;
}

typedef struct scaling {   /* y = post * rne(scale * (v - centre)) */
	pai_t_stats stats; /* of v */
	double centre;
	double m; /* the largest magnitude of v - centre */
	double scale, post;
} scaling;

/* Elements minus the centre, as the reference computes them. */
static float centred(const scaling *s, float v)
{
	return v - (float)s->centre;
}

static scaling rockpool_scaling(const settings *s, int64_t n, const float *v)
{
	scaling a = {.stats = pai_t_stats_of(n, v, true), .post = 1};
	float m = a.stats.max_abs;
	if (!s->maintain_zero) {
		a.centre = (a.stats.max - a.stats.min) / 2.0f;
		m = 0;
		for (int64_t i = 0; i < n; i++) {
			float magnitude = fabsf(centred(&a, v[i]));
			m = magnitude > m || isnan(magnitude) ? magnitude : m;
			if (isnan(m))
				break;
		}
	}
	float scale = m == 0 ? 1 : 1.0f / m * (float)s->q;
	if (s->map_to_max)
		scale *= (float)(s->q_max / s->q);
	a.m = m;
	a.scale = scale;
	return a;
}

static scaling default_scaling(const settings *s, int64_t n, const float *v)
{
	scaling a = {.stats = pai_t_stats_of(n, v, false), .post = 1};
	a.m = a.stats.max_abs;
	if (!s->maintain_zero) {
		a.centre = ((double)a.stats.max + a.stats.min) / 2;
		a.m = a.stats.max - a.centre;
	}
	a.scale = a.m == 0 ? 1 : s->q / a.m;
	if (s->map_to_max)
		a.post = s->q_max / s->q;
	return a;
}

static pai_status run(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	settings s;
	PAI_TRY(settings_of(c->ctx, c->node, &s));
	PAI_TRY(pai_call_output(c, 0, PAI_FLOAT, x->rank, x->dims));
	int64_t n = pai_tensor_nelem(x);
	const float *v = x->data;
	float *y = c->out[0]->data;
	if (s.mode.rockpool) {
		scaling a = rockpool_scaling(&s, n, v);
		bool centre = !s.maintain_zero;
		for (int64_t i = 0; i < n; i++)
			y[i] = rintf((float)a.scale * (centre ? centred(&a, v[i]) : v[i]));
		return PAI_OK;
	}
	scaling a = default_scaling(&s, n, v);
	for (int64_t i = 0; i < n; i++) {
		double r = rint((v[i] - a.centre) * s.q / (a.m == 0 ? 1 : a.m));
		r = r < -s.q ? -s.q : r > s.q ? s.q : r;
		y[i] = (float)(r * a.post);
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_int_quant = {.run = run};

/* With rounding taken as the identity, y = k (v - c), k = scale * post, k = Q'/M:
 *   dL/dv = k g;   dL/dM = -k sum(g (v - c)) / M, which goes to the elements of magnitude M;
 *   dL/dc = -(sum over v of the gradient so far), where c = (max + min)/2, or (max - min)/2 in the
 *   reference. */
static pai_status run_gradient(pai_call *c)
{
	const pai_tensor *x = c->in[1];
	const float *g = c->in[0]->data, *v = x->data;
	settings s;
	PAI_TRY(settings_of(c->ctx, c->node, &s));
	PAI_TRY(pai_call_output(c, 0, PAI_FLOAT, x->rank, x->dims));
	int64_t n = pai_tensor_nelem(x);
	float *dx = c->out[0]->data;
	scaling a = s.mode.rockpool ? rockpool_scaling(&s, n, v) : default_scaling(&s, n, v);
	double k = a.scale * a.post, weighted = 0;
	float *shifted = pai_call_scratch(c, sizeof(float) * (size_t)(n ? n : 1));
	if (!shifted)
		return pai_call_nomem(c);
	for (int64_t i = 0; i < n; i++) {
		shifted[i] = s.maintain_zero ? v[i] : centred(&a, v[i]);
		dx[i] = (float)(g[i] * k);
		weighted += (double)g[i] * shifted[i];
	}
	if (s.mode.grad != PAI_T_STE_RANGE || n == 0)
		return PAI_OK;
	if (a.m != 0)
		pai_t_give(n, shifted, (float)a.m, true, -k * weighted / a.m, dx);
	if (s.maintain_zero)
		return PAI_OK;
	double total = 0;
	for (int64_t i = 0; i < n; i++)
		total += dx[i];
	pai_t_give(n, v, a.stats.max, false, -total / 2, dx);
	pai_t_give(n, v, a.stats.min, false, s.mode.rockpool ? total / 2 : -total / 2, dx);
	return PAI_OK;
}

const pai_kernel pai_kernel_int_quant_grad = {.run = run_gradient};

pai_status pai_shape_int_quant_grad(pai_shape_ctx *s)
{
	pai_shape_copy(s, 0, 1);
	return PAI_OK;
}

/* The scale is a function of the data, so the gradient reads them: one internal node. */
pai_status pai_grad_int_quant(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_node *grad = pai_patch_node(pai_grad_patch(g), PAI_DOMAIN_INTERNAL, "IntQuantGrad",
					n->out[0]->name, 2, (pai_value *[]){dy[0], n->in[0]}, 1);
	pai_patch_copy_attrs(pai_grad_patch(g), grad, n);
	dx[0] = grad->out[0];
	return PAI_OK;
}

/* In standard operators, opset 12 and later; the same formulas, bit for bit on finite input. */
#define NUMBERS                                                                         \
	"zero = Constant <value = double {0.0}> () "                                    \
	"one = Constant <value = double {1.0}> () "                                     \
	"twod = Constant <value = double {2.0}> () "                                    \
	"mzi = Constant <value_int: int = @maintain_zero> () mz = Cast <to = 9> (mzi) " \
	"mapi = Constant <value_int: int = @map_to_max> () map = Cast <to = 9> (mapi) " \
	"bits = Constant <value_int: int = @n_bits> () bitsd = Cast <to = 11> (bits) "  \
	"bits1 = Sub (bitsd, one) q2 = Pow (twod, bits1) q = Sub (q2, one) "            \
	"mbits = Constant <value_int: int = @max_n_bits> () "                           \
	"mbitsd = Cast <to = 11> (mbits) mbits1 = Sub (mbitsd, one) "                   \
	"qm2 = Pow (twod, mbits1) qm = Sub (qm2, one) ratio = Div (qm, q) "

#define DEFAULT                                                                       \
	"v = Cast <to = 11> (X) min = ReduceMin <keepdims = 0> (v) "                  \
	"max = ReduceMax <keepdims = 0> (v) sum = Add (max, min) "                    \
	"mid = Div (sum, twod) centre = Where (mz, zero, mid) vc = Sub (v, centre) "  \
	"mag = Abs (v) mabs = ReduceMax <keepdims = 0> (mag) mrel = Sub (max, mid) "  \
	"m = Where (mz, mabs, mrel) mzero = Equal (m, zero) "                         \
	"m1 = Where (mzero, one, m) vq = Mul (vc, q) l = Div (vq, m1) r = Round (l) " \
	"negq = Neg (q) ra = Max (r, negq) rb = Min (ra, q) "                         \
	"post = Where (map, ratio, one) yd = Mul (rb, post) Y = Cast <to = 1> (yd) "

#define ROCKPOOL                                                                      \
	"onef = Constant <value = float {1.0}> () "                                   \
	"zerof = Constant <value = float {0.0}> () "                                  \
	"twof = Constant <value = float {2.0}> () qf = Cast <to = 1> (q) "            \
	"ratiof = Cast <to = 1> (ratio) min = ReduceMin <keepdims = 0> (X) "          \
	"max = ReduceMax <keepdims = 0> (X) width = Sub (max, min) "                  \
	"mid = Div (width, twof) shift = Where (mz, zerof, mid) vc = Sub (X, shift) " \
	"mag = Abs (vc) m = ReduceMax <keepdims = 0> (mag) mzero = Equal (m, zerof) " \
	"inv = Div (onef, m) prod = Mul (inv, qf) s = Where (mzero, onef, prod) "     \
	"smax = Mul (s, ratiof) scale = Where (map, smax, s) l = Mul (scale, vc) "    \
	"Y = Round (l) "

#define HEAD "IntQuant <compat, grad, maintain_zero, map_to_max, max_n_bits, n_bits> (X) => (Y) { "

const pai_body pai_body_int_quant = {
	.none = HEAD NUMBERS DEFAULT "}",
	.rockpool = HEAD NUMBERS ROCKPOOL "}",
};
