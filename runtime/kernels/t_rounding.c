/* t_rounding.c -- DeterministicRounding and StochasticRounding: a tensor onto a grid of levels.
 *
 * Level l = (v - in0) / q_in of an element is rounded to r, to the nearest or by chance, and
 * y = r * q_out + out0. in0, q_in come from the input range, out0, q_out from the output range;
 * a range that is not given is that of the data.
 *
 * Default kernel: with maintain_zero and no range given the grid is r * (M / Q), M the largest
 * magnitude, Q = (num_levels - 1) / 2, so zero stays zero and the grid is that of a symmetric
 * QuantizeLinear; two levels are 0 and the extreme element. Levels outside the grid are clamped,
 * only finite elements make the range, arithmetic is in double where float would overflow.
 * compat="rockpool" is the reference bit for bit: float, no clamp, mid-rise grids for even
 * num_levels, NaN where a range is empty. Numbers (range_kind="number", or a double input) have
 * their quantum computed in double; tensors (float inputs) in float throughout.
 *
 * The body handles attribute ranges, not the optional range inputs.
 */
#include "runtime/kernels/t_stats.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct range { /* as given */
	bool given, number;
	double low, high;
} range;

typedef struct settings {
	pai_t_mode mode;
	int64_t levels;
	bool maintain_zero;
	range in, out;
} settings;

typedef struct grid {
	double in0, q_in, out0, q_out;
	double low, high; /* levels are clamped to these */
	bool symmetric;   /* the default grid around zero */
	bool own_in;      /* in0, q_in are functions of the data */
	bool own_out;     /* out0, q_out are in0, q_in */
} grid;

/* The number a float attribute stands for: the decimal number of at most 7 digits that rounds to
 * it, so that 0.1 means 0.1 and not the float next to it. */
static double decimal(float f)
{
	char text[32];
	snprintf(text, sizeof text, "%.7g", (double)f);
	double d = strtod(text, NULL);
	return (float)d == f ? d : (double)f;
}

static pai_status range_attribute(pai_ctx *ctx, const pai_node *n, const char *name, range *out)
{
	const float *v = NULL;
	int count = pai_node_floats(n, name, &v);
	if (count <= 0)
		return PAI_OK;
	if (count != 2)
		return pai_fail(ctx, PAI_E_transform_attribute, pai_at_attr(n, name),
				"has %d values, expected 2", count);
	out->given = true;
	out->number = strcmp(pai_node_string(n, "range_kind", "number"), "tensor") != 0;
	out->low = out->number ? decimal(v[0]) : (double)v[0];
	out->high = out->number ? decimal(v[1]) : (double)v[1];
	return PAI_OK;
}

static pai_status range_input(pai_ctx *ctx, const pai_node *n, int slot, const pai_tensor *t,
			      range *out)
{
	if (!t)
		return PAI_OK;
	if (pai_tensor_nelem(t) != 2)
		return pai_fail(ctx, PAI_E_transform_input, pai_at_input(n, slot),
				"has %lld elements, expected 2: the ends of a range",
				(long long)pai_tensor_nelem(t));
	*out = (range){true, t->dtype == PAI_DOUBLE, pai_tensor_get(t, 0), pai_tensor_get(t, 1)};
	return PAI_OK;
}

static pai_status settings_of(pai_ctx *ctx, const pai_node *n, settings *out)
{
	*out = (settings){.levels = pai_node_int(n, "num_levels", 255),
			  .maintain_zero = pai_node_int(n, "maintain_zero", 1) != 0};
	PAI_TRY(pai_t_mode_of(ctx, n, &out->mode));
	if (out->levels < (out->mode.rockpool ? 1 : 2) || out->levels > 1 << 24)
		return pai_fail(ctx, PAI_E_transform_attribute, pai_at_attr(n, "num_levels"),
				"is %lld, expected 2 to 2^24", (long long)out->levels);
	PAI_TRY(range_attribute(ctx, n, "input_range", &out->in));
	PAI_TRY(range_attribute(ctx, n, "output_range", &out->out));
	if (out->mode.rockpool && out->levels == 1 &&
	    ((out->in.given && out->in.number) || (out->out.given && out->out.number)))
		return pai_fail(ctx, PAI_E_transform_attribute, pai_at_attr(n, "num_levels"),
				"is 1: a range has no quantum");
	return PAI_OK;
}

/* The quantum of a range as the reference computes it, and its low end as it uses it. */
static double float_quantum(const range *r, int64_t levels)
{
	double steps = (double)(levels - 1);
	return r->number ? (float)((r->high - r->low) / steps)
			 : ((float)r->high - (float)r->low) / (float)steps;
}

static grid rockpool_grid(const settings *s, const pai_t_stats *d)
{
	range own = {true, false, s->maintain_zero ? -d->max_abs : d->min,
		     s->maintain_zero ? d->max_abs : d->max};
	const range *in = s->in.given ? &s->in : &own;
	const range *out = s->out.given ? &s->out : in;
	return (grid){.in0 = (float)in->low,
		      .q_in = float_quantum(in, s->levels),
		      .out0 = (float)out->low,
		      .q_out = float_quantum(out, s->levels),
		      .own_in = in == &own,
		      .own_out = out == in};
}

static grid symmetric_grid(const settings *s, const pai_t_stats *d)
{
	grid g = {.symmetric = true, .own_in = true, .own_out = true};
	int64_t half = (s->levels - 1) / 2;
	double quantum = half ? d->max_abs / (double)half : d->extreme;
	if (fabs(quantum) >= FLT_MIN)
		quantum = (float)quantum; /* the scale that a QuantizeLinear would carry */
	if (fabs(quantum) * (double)half > FLT_MAX)
		quantum = nextafterf((float)quantum, 0);
	g.q_in = g.q_out = quantum == 0 ? 1 : quantum;
	g.low = half ? -(double)half : 0;
	g.high = half ? (double)half : 1;
	return g;
}

static grid default_grid(const settings *s, const pai_t_stats *d)
{
	if (s->maintain_zero && !s->in.given && !s->out.given)
		return symmetric_grid(s, d);
	double m = d->max_abs == 0 ? 1 : d->max_abs;
	range own = {true, true, s->maintain_zero ? -m : d->min, s->maintain_zero ? m : d->max};
	const range *in = s->in.given ? &s->in : &own;
	const range *out = s->out.given ? &s->out : in;
	double steps = (double)(s->levels - 1);
	grid g = {.in0 = in->low,
		  .q_in = (in->high - in->low) / steps,
		  .out0 = out->low,
		  .q_out = (out->high - out->low) / steps,
		  .high = steps,
		  .own_in = in == &own,
		  .own_out = out == in};
	if (g.q_in == 0)
		g.q_in = 1; /* one level: everything is in0 */
	return g;
}

static grid grid_of(const settings *s, int64_t n, const float *v, pai_t_stats *stats)
{
	*stats = pai_t_stats_of(n, v, s->mode.rockpool);
	return s->mode.rockpool ? rockpool_grid(s, stats) : default_grid(s, stats);
}

/* u: the number that decides, NULL for rounding to the nearest. */
static float round_rockpool(const grid *g, float v, const float *u)
{
	float l = (v - (float)g->in0) / (float)g->q_in;
	float r = rintf(l);
	if (u) {
		float floor = floorf(l);
		r = floor + (l - floor > *u ? 1.0f : 0.0f);
	}
	return r * (float)g->q_out + (float)g->out0;
}

static float round_default(const grid *g, float v, const float *u)
{
	double l = (v - g->in0) / g->q_in;
	double r = rint(l);
	if (u) {
		double floor_l = floor(l);
		r = floor_l + (l - floor_l > *u ? 1 : 0);
	}
	r = r < g->low ? g->low : r > g->high ? g->high : r;
	return (float)(r * g->q_out + g->out0);
}

static pai_status run(pai_call *c)
{
	const bool *stochastic = c->kernel->data;
	const pai_tensor *x = c->in[0], *u = NULL;
	settings s;
	PAI_TRY(settings_of(c->ctx, c->node, &s));
	if (*stochastic)
		PAI_TRY(pai_t_uniform(c, &u));
	for (int i = 1; !*stochastic && i < c->n_in && i < 3; i++)
		PAI_TRY(range_input(c->ctx, c->node, i, c->in[i], i == 1 ? &s.in : &s.out));
	PAI_TRY(pai_call_output(c, 0, PAI_FLOAT, x->rank, x->dims));
	int64_t n = pai_tensor_nelem(x);
	pai_t_stats stats;
	const float *v = x->data, *uniform = u ? u->data : NULL;
	grid g = grid_of(&s, n, v, &stats);
	float (*round_one)(const grid *, float, const float *) =
		s.mode.rockpool ? round_rockpool : round_default;
	pai_random random = {0};
	if (*stochastic && !u)
		random = pai_call_random(c);
	float *y = c->out[0]->data, drawn;
	for (int64_t i = 0; i < n; i++) {
		if (*stochastic && !u)
			drawn = pai_random_uniform(&random, (uint64_t)i);
		y[i] = round_one(&g, v[i], !*stochastic ? NULL : u ? &uniform[i] : &drawn);
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_deterministic_rounding = {.run = run, .data = &(const bool){false}};
const pai_kernel pai_kernel_stochastic_rounding = {.run = run, .data = &(const bool){true}};

typedef struct sums {                     /* over the elements, of the upstream gradient times: */
	double gain, level, rounded, one; /* q_out/q_in; q_out*l; r; 1 */
	double residual;                  /* r - l */
} sums;

/* d ends / d elements: the gradients of the two ends go to the elements that are the ends. */
static void give_ends(const settings *s, const pai_t_stats *d, int64_t n, const float *v,
		      double low, double high, float *dx)
{
	if (s->maintain_zero) {
		pai_t_give(n, v, d->max_abs, true, high - low, dx);
	} else {
		pai_t_give(n, v, d->min, false, low, dx);
		pai_t_give(n, v, d->max, false, high, dx);
	}
}

/* Fills dx with the part of each element alone; the sums are for the ends of ranges. */
static sums accumulate(const settings *s, const grid *of, int64_t n, const float *g, const float *v,
		       const float *y, float *dx)
{
	sums sum = {0};
	double gain = of->q_out / of->q_in;
	if (of->own_out && !s->mode.rockpool)
		gain = 1; /* in the reference 0/0 and inf/inf are NaN, whatever the ranges are */
	for (int64_t i = 0; i < n; i++) {
		double l = (v[i] - of->in0) / of->q_in;
		if (s->mode.rockpool)
			l = (v[i] - (float)of->in0) / (float)of->q_in;
		double r = rint((y[i] - of->out0) / of->q_out);
		bool outside = l < of->low || l > of->high;
		dx[i] = (float)(g[i] * gain);
		if (s->mode.grad == PAI_T_STE_CLIP && !s->mode.rockpool && outside)
			dx[i] = 0;
		sum.gain += g[i] * gain;
		sum.level += g[i] * gain * l;
		sum.rounded += g[i] * r;
		sum.residual += g[i] * (r - l);
		sum.one += g[i];
	}
	return sum;
}

/* With l = (v - in0)/q_in, q = (end1 - end0)/(L - 1), y = r q_out + out0 and dr/dl taken as 1:
 *   dL/dv = g q_out/q_in
 *   dL/din0 = -sum(g q_out/q_in) + E,  dL/din1 = -E,  E = sum(g q_out/q_in l)/(L - 1)
 *   dL/dout0 = sum(g) - R,  dL/dout1 = R,  R = sum(g r)/(L - 1)
 * and for the symmetric grid, whose quantum is the extreme element / Q:
 *   dL/d extreme += sum(g (r - l)) / Q. */
static pai_status run_gradient(pai_call *c)
{
	const pai_tensor *x = c->in[1];
	settings s;
	PAI_TRY(settings_of(c->ctx, c->node, &s));
	for (int i = 3; i < c->n_in && i < 5; i++)
		PAI_TRY(range_input(c->ctx, c->node, i, c->in[i], i == 3 ? &s.in : &s.out));
	PAI_TRY(pai_call_output(c, 0, PAI_FLOAT, x->rank, x->dims));
	int64_t n = pai_tensor_nelem(x);
	const float *v = x->data;
	float *dx = c->out[0]->data;
	pai_t_stats stats;
	grid of = grid_of(&s, n, v, &stats);
	sums sum = accumulate(&s, &of, n, c->in[0]->data, v, c->in[2]->data, dx);
	double steps = (double)(s.levels - 1);
	double out[2] = {sum.one - sum.rounded / steps, sum.rounded / steps};
	double in[2] = {-sum.gain + sum.level / steps, -sum.level / steps};
	for (int o = 1; o < c->n_out; o++) {
		if (!c->out[o])
			continue;
		PAI_TRY(pai_call_output(c, o, PAI_FLOAT, 1, &(int64_t){2}));
		float *ends = c->out[o]->data;
		for (int e = 0; e < 2; e++)
			ends[e] = (float)(o == 2 ? out[e] : in[e] + (of.own_out ? out[e] : 0));
	}
	if (s.mode.grad != PAI_T_STE_RANGE || !of.own_in || n == 0)
		return PAI_OK;
	if (of.symmetric && s.levels == 2)
		pai_t_give(n, v, stats.extreme, false, sum.residual, dx);
	else if (of.symmetric)
		pai_t_give(n, v, stats.max_abs, true, sum.residual / of.high, dx);
	else if (of.own_out)
		give_ends(&s, &stats, n, v, -sum.residual / steps, sum.residual / steps, dx);
	else
		give_ends(&s, &stats, n, v, in[0], in[1], dx);
	return PAI_OK;
}

const pai_kernel pai_kernel_rounding_grad = {.run = run_gradient};

pai_status pai_shape_rounding_grad(pai_shape_ctx *s)
{
	pai_shape_copy(s, 0, 1);
	for (int o = 1; o < s->n_out; o++)
		pai_shape_set(s, o, 1, &(pai_dim){2});
	return PAI_OK;
}

/* The ranges of the data make the gradient a function of the whole tensor: one internal node. Only
 * where input and output grid are the same and the range is taken as constant is it plain dy. */
pai_status pai_grad_rounding(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_ctx *ctx = n->graph->model->ctx;
	bool inputs = pai_node_is_in(n, PAI_DOMAIN_TRANSFORM, "DeterministicRounding") &&
		      (pai_node_in(n, 1) || pai_node_in(n, 2));
	settings s;
	PAI_TRY(settings_of(ctx, n, &s));
	if (!inputs && !s.out.given && s.mode.grad == PAI_T_STE) {
		dx[0] = dy[0];
		return PAI_OK;
	}
	pai_value *in[5] = {dy[0], n->in[0], n->out[0], inputs ? pai_node_in(n, 1) : NULL,
			    inputs ? pai_node_in(n, 2) : NULL};
	pai_node *grad = pai_patch_node(pai_grad_patch(g), PAI_DOMAIN_INTERNAL, "RoundingGrad",
					n->out[0]->name, inputs ? 5 : 3, in, inputs ? 3 : 1);
	pai_patch_copy_attrs(pai_grad_patch(g), grad, n);
	dx[0] = grad->out[0];
	for (int i = 1; inputs && i < n->n_in && i < 3; i++)
		dx[i] = n->in[i] ? grad->out[i] : NULL;
	return PAI_OK;
}
