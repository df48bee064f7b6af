/* map.c -- functions of one element. The order of channels does not matter to them. */
#include "runtime/fast/fast.h"
#include <math.h>

typedef struct map_step {
	const pai_own *own;
	const pai_tensor *x, *y;
	pai_map_kind kind;
	float alpha, beta;
	int64_t n;
	int threads;
} map_step;

enum { CHUNK = 64 }; /* elements: parts of an array begin at multiples of it */

static void range(void *args, int64_t lo, int64_t hi, int thread)
{
	const map_step *s = args;
	(void)thread;
	int64_t from = lo * CHUNK, to = hi * CHUNK < s->n ? hi * CHUNK : s->n;
	s->own->map(s->kind, to - from, (const float *)s->x->data + from,
		    (float *)s->y->data + from, s->alpha, s->beta);
}

static pai_status run(void *args, pai_run *run)
{
	map_step *s = args;
	(void)run;
	pai_parallel(s->threads, (s->n + CHUNK - 1) / CHUNK, range, s);
	return PAI_OK;
}

static pai_status emit(pai_plan *p, pai_unit *u, bool *taken, pai_map_kind kind, double cost,
		       float alpha, float beta)
{
	if (!pai_unit_is(u, PAI_FLOAT) || !u->in[0] || !u->out[0])
		return PAI_OK;
	pai_slot *x = u->in[0], *y = pai_slot_out(p, u->out[0], x->channels_last);
	if (y->channels_last != x->channels_last)
		x = pai_slot_in(p, x, y->channels_last);
	pai_slot_reuse(p, x, y);
	map_step *s = PAI_NEW(p->arena, map_step);
	*s = (map_step){.own = p->own,
			.x = &x->tensor,
			.y = &y->tensor,
			.kind = kind,
			.alpha = alpha,
			.beta = beta,
			.n = pai_tensor_nelem(&x->tensor)};
	s->threads = pai_step_threads(p, cost * (double)s->n);
	pai_step_info info = {.node = u->node,
			      .name = u->node->op_type,
			      .impl = p->own->name,
			      .flops = cost * (double)s->n,
			      .bytes = 8.0 * (double)s->n};
	pai_plan_emit(p, (pai_step){run, s}, info, 1, &x, 1, &y);
	pai_slot_done(p, u->out[0], y);
	*taken = true;
	return PAI_OK;
}

pai_status pai_fast_relu(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_MAP_RELU, 2, 0, 0);
}

pai_status pai_fast_leaky_relu(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_MAP_LEAKY, 2, pai_node_float(u->node, "alpha", 0.01f), 0);
}

pai_status pai_fast_sigmoid(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_MAP_SIGMOID, 8, 0, 0);
}

pai_status pai_fast_tanh(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_MAP_TANH, 8, 0, 0);
}

pai_status pai_fast_exp(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_MAP_EXP, 5, 0, 0);
}

pai_status pai_fast_erf(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_MAP_ERF, 8, 0, 0);
}

pai_status pai_fast_gelu(pai_plan *p, pai_unit *u, bool *taken)
{
	const char *how = pai_node_string(u->node, "approximate", "none");
	return how[0] == 'n' ? emit(p, u, taken, PAI_MAP_GELU, 8, 0, 0) : PAI_OK;
}

pai_status pai_fast_sqrt(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_MAP_SQRT, 2, 0, 0);
}

pai_status pai_fast_abs(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_MAP_ABS, 1, 0, 0);
}

pai_status pai_fast_neg(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_MAP_NEG, 1, 0, 0);
}

pai_status pai_fast_log(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_MAP_LOG, 6, 0, 0);
}

pai_status pai_fast_reciprocal(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_MAP_RECIPROCAL, 4, 0, 0);
}

pai_status pai_fast_hard_sigmoid(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_MAP_HARD_SIGMOID, 4, pai_node_float(u->node, "alpha", 0.2f),
		    pai_node_float(u->node, "beta", 0.5f));
}

pai_status pai_fast_hard_swish(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_MAP_HARD_SWISH, 5, 1.0f / 6, 0.5f);
}

/* A single number that no run changes, at input k; absent: *out as it is. */
static bool known_number(const pai_unit *u, int k, float *out)
{
	const pai_slot *s = k < u->n_in ? u->in[k] : NULL;
	const pai_tensor *t = pai_slot_constant(s);
	if (t && t->data && t->dtype == PAI_FLOAT && pai_tensor_nelem(t) == 1)
		*out = *(const float *)t->data;
	else if (s)
		return false;
	return true;
}

pai_status pai_fast_clip(pai_plan *p, pai_unit *u, bool *taken)
{
	float low = pai_node_float(u->node, "min", -INFINITY);
	float high = pai_node_float(u->node, "max", INFINITY);
	if (!known_number(u, 1, &low) || !known_number(u, 2, &high))
		return PAI_OK;
	return emit(p, u, taken, PAI_MAP_CLIP, 2, low, high);
}

/* Exponents that are no power at all. */
pai_status pai_fast_pow(pai_plan *p, pai_unit *u, bool *taken)
{
	static const struct {
		float exponent;
		pai_map_kind kind;
	} kinds[] = {{2, PAI_MAP_SQUARE},
		     {0.5f, PAI_MAP_SQRT},
		     {1, PAI_MAP_COPY},
		     {-1, PAI_MAP_RECIPROCAL}};
	float exponent = NAN;
	if (u->n_in != 2 || !u->in[1] || !known_number(u, 1, &exponent) || !u->in[0] ||
	    !u->out[0] || u->in[1]->tensor.rank > u->in[0]->tensor.rank)
		return PAI_OK;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (exponent == kinds[i].exponent)
			return emit(p, u, taken, kinds[i].kind, 2, 0, 0);
	return PAI_OK;
}
