/* softmax.c -- Softmax, its logarithm and LayerNormalization over adjacent elements, and
 * cross-entropy of class scores
 * [n, classes] with its gradient. */
#include "runtime/fast/fast.h"
#include <string.h>

typedef struct softmax_step {
	const pai_own *own;
	const pai_tensor *x, *y, *dx;
	int64_t rows, n;
	bool log;
	int threads;
} softmax_step;

static void range(void *args, int64_t lo, int64_t hi, int thread)
{
	const softmax_step *s = args;
	int64_t at = lo * s->n;
	const float *x = (const float *)s->x->data + at;
	float *y = (float *)s->y->data + at;
	(void)thread;
	if (s->dx)
		s->own->softmax_grad(hi - lo, s->n, x, y, (float *)s->dx->data + at, s->log);
	else
		s->own->softmax(hi - lo, s->n, x, y, s->log);
}

static pai_status run(void *args, pai_run *run)
{
	softmax_step *s = args;
	(void)run;
	pai_parallel(s->threads, s->rows, range, s);
	return PAI_OK;
}

/* Rows of adjacent elements; false: the axis lies elsewhere. */
static bool rows_of(const pai_unit *u, const pai_tensor *x, int64_t *rows, int64_t *n)
{
	bool internal = *u->node->domain != 0;
	bool coerce = internal ? pai_node_int(u->node, "coerce", 0) != 0 : u->node->op->since < 13;
	int64_t axis = pai_node_int(u->node, "axis", -1);
	axis += axis < 0 ? x->rank : 0;
	if (axis < 0 || axis >= x->rank || !pai_tensor_nelem(x))
		return false;
	*n = x->dims[axis];
	int64_t after = 1;
	for (int64_t i = axis + 1; i < x->rank; i++)
		after *= x->dims[i];
	if (!coerce && after != 1)
		return false;
	*n *= after;
	*rows = pai_tensor_nelem(x) / *n;
	return true;
}

static pai_status emit(pai_plan *p, pai_unit *u, bool *taken, bool log, bool grad)
{
	softmax_step *s = PAI_NEW(p->arena, softmax_step);
	*s = (softmax_step){.own = p->own, .log = log};
	if (!pai_unit_is(u, PAI_FLOAT) || !rows_of(u, &u->in[0]->tensor, &s->rows, &s->n))
		return PAI_OK;
	pai_slot *in[2] = {pai_slot_in(p, u->in[0], false)}, *out = u->out[0];
	if (grad) {
		in[1] = pai_slot_in(p, u->in[1], false);
		s->dx = &out->tensor;
	}
	s->x = &in[0]->tensor;
	s->y = grad ? &in[1]->tensor : &out->tensor;
	double n = 8.0 * (double)s->rows * (double)s->n;
	s->threads = pai_step_threads(p, n);
	pai_step_info info = {.node = u->node,
			      .name = u->node->op_type,
			      .impl = p->own->name,
			      .flops = n,
			      .bytes = n};
	pai_plan_emit(p, (pai_step){run, s}, info, 2, in, 1, &out);
	*taken = true;
	return PAI_OK;
}

pai_status pai_fast_softmax(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, false, false);
}

pai_status pai_fast_log_softmax(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, true, false);
}

pai_status pai_fast_softmax_grad(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, false, true);
}

pai_status pai_fast_log_softmax_grad(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, true, true);
}

typedef struct layer_step {
	const pai_own *own;
	const pai_tensor *x, *scale, *bias, *y, *mean, *inverse; /* NULL: none */
	int64_t rows, n;
	float epsilon;
	int threads;
} layer_step;

static void layer_range(void *args, int64_t lo, int64_t hi, int thread)
{
	const layer_step *s = args;
	(void)thread;
	s->own->layer_norm(hi - lo, s->n, (const float *)s->x->data + lo * s->n, s->scale->data,
			   s->bias ? s->bias->data : NULL, s->epsilon,
			   (float *)s->y->data + lo * s->n,
			   s->mean ? (float *)s->mean->data + lo : NULL,
			   s->inverse ? (float *)s->inverse->data + lo : NULL);
}

static pai_status run_layer(void *args, pai_run *run)
{
	layer_step *s = args;
	(void)run;
	pai_parallel(s->threads, s->rows, layer_range, s);
	return PAI_OK;
}

pai_status pai_fast_layer_normalization(pai_plan *p, pai_unit *u, bool *taken)
{
	if (!pai_unit_is(u, PAI_FLOAT) || u->n_in < 2 || !u->in[1] || !u->out[0])
		return PAI_OK;
	const pai_tensor *x = &u->in[0]->tensor;
	int64_t axis = pai_node_int(u->node, "axis", -1);
	axis += axis < 0 ? x->rank : 0;
	if (axis < 0 || axis >= x->rank || !pai_tensor_nelem(x))
		return PAI_OK;
	layer_step *s = PAI_NEW(p->arena, layer_step);
	*s = (layer_step){.own = p->own, .n = 1, .rows = 1};
	for (int i = 0; i < x->rank; i++)
		*(i < axis ? &s->rows : &s->n) *= x->dims[i];
	pai_slot *bias = u->n_in > 2 ? u->in[2] : NULL;
	if (pai_tensor_nelem(&u->in[1]->tensor) != s->n ||
	    (bias && pai_tensor_nelem(&bias->tensor) != s->n))
		return PAI_OK;
	bias = pai_slot_in(p, bias, false);
	pai_slot *in[3] = {pai_slot_in(p, u->in[0], false), pai_slot_in(p, u->in[1], false), bias};
	pai_slot *out[3] = {0};
	for (int o = 0; o < u->n_out && o < 3; o++)
		out[o] = u->out[o];
	s->x = &in[0]->tensor;
	s->scale = &in[1]->tensor;
	s->bias = bias ? &bias->tensor : NULL;
	s->y = &out[0]->tensor;
	s->mean = out[1] ? &out[1]->tensor : NULL;
	s->inverse = out[2] ? &out[2]->tensor : NULL;
	s->epsilon = pai_node_float(u->node, "epsilon", 1e-5f);
	double n = (double)pai_tensor_nelem(x);
	s->threads = pai_step_threads(p, 6 * n);
	pai_step_info info = {.node = u->node,
			      .name = u->node->op_type,
			      .impl = p->own->name,
			      .flops = 6 * n,
			      .bytes = 8 * n};
	pai_plan_emit(p, (pai_step){run_layer, s}, info, 3, in, 3, out);
	*taken = true;
	return PAI_OK;
}

typedef struct loss_step {
	const pai_own *own;
	const pai_node *node;
	const pai_tensor *x, *labels, *out; /* out: the loss, or dx */
	const pai_tensor *up;               /* gradient of the loss */
	const pai_tensor *rows;             /* [n, classes] log-probabilities, of the loss */
	int64_t n, classes, ignore;
	bool mean, ignores;
	int slot; /* of the labels */
} loss_step;

/* Targets that count. */
static pai_status check_labels(const loss_step *s, pai_run *run, int64_t *counted)
{
	*counted = 0;
	for (int64_t i = 0; i < s->n; i++) {
		int64_t t = s->labels->dtype == PAI_INT64 ? ((const int64_t *)s->labels->data)[i]
							  : ((const int32_t *)s->labels->data)[i];
		bool skip = s->ignores && t == s->ignore;
		if (!skip && (t < 0 || t >= s->classes))
			return pai_fail(run->ctx, PAI_E_bad_index, pai_at_input(s->node, s->slot),
					"target %lld is no class: there are %lld", (long long)t,
					(long long)s->classes);
		*counted += !skip;
	}
	return PAI_OK;
}

/* -1: does not count */
static int64_t target(const loss_step *s, int64_t i)
{
	int64_t t = s->labels->dtype == PAI_INT64 ? ((const int64_t *)s->labels->data)[i]
						  : ((const int32_t *)s->labels->data)[i];
	return s->ignores && t == s->ignore ? -1 : t;
}

static pai_status run_loss(void *args, pai_run *run)
{
	loss_step *s = args;
	int64_t counted;
	double sum = 0;
	float *rows = s->rows->data;
	PAI_TRY(check_labels(s, run, &counted));
	s->own->softmax(s->n, s->classes, s->x->data, rows, true);
	for (int64_t i = 0; i < s->n; i++) {
		int64_t t = target(s, i);
		sum -= t < 0 ? 0 : (double)rows[i * s->classes + t];
	}
	*(float *)s->out->data = (float)(s->mean ? sum / (double)counted : sum);
	return PAI_OK;
}

static pai_status run_loss_grad(void *args, pai_run *run)
{
	loss_step *s = args;
	int64_t counted;
	float *dx = s->out->data;
	PAI_TRY(check_labels(s, run, &counted));
	float by = *(const float *)s->up->data;
	by = s->mean ? (float)((double)by / (double)counted) : by;
	s->own->softmax(s->n, s->classes, s->x->data, dx, false);
	for (int64_t i = 0; i < s->n; i++) {
		int64_t t = target(s, i);
		if (t < 0)
			memset(dx + i * s->classes, 0, sizeof *dx * (size_t)s->classes);
		else
			dx[i * s->classes + t] -= 1;
	}
	s->own->zip(PAI_ZIP_MUL, s->n * s->classes, dx, 1, &by, 0, dx);
	return PAI_OK;
}

/* at: slot of the scores. */
static pai_status emit_loss(pai_plan *p, pai_unit *u, int at, bool *taken)
{
	const char *reduction = pai_node_string(u->node, "reduction", "mean");
	const pai_attr *ignore = pai_node_attr(u->node, "ignore_index");
	pai_slot *x = u->in[at], *labels = u->in[at + 1], *out = u->out[0];
	bool other = u->dynamic || (u->n_in > at + 2 && u->in[at + 2]) ||
		     !strcmp(reduction, "none") || !out || out->tensor.dtype != PAI_FLOAT;
	if (u->n_out > 1 && u->out[1])
		other |= u->out[1]->readers || u->out[1]->place != PAI_IN_ARENA;
	if (other || x->place == PAI_IN_BUFFER || labels->place == PAI_IN_BUFFER ||
	    x->tensor.dtype != PAI_FLOAT || x->tensor.rank != 2 || labels->tensor.rank != 1 ||
	    labels->tensor.dims[0] != x->tensor.dims[0] ||
	    (labels->tensor.dtype != PAI_INT64 && labels->tensor.dtype != PAI_INT32))
		return PAI_OK;
	loss_step *s = PAI_NEW(p->arena, loss_step);
	*s = (loss_step){.own = p->own,
			 .node = u->node,
			 .x = &x->tensor,
			 .labels = &labels->tensor,
			 .out = &out->tensor,
			 .n = x->tensor.dims[0],
			 .classes = x->tensor.dims[1],
			 .ignores = ignore != NULL,
			 .ignore = ignore ? ignore->i : 0,
			 .mean = !strcmp(reduction, "mean"),
			 .slot = at + 1};
	pai_slot *in[] = {x, labels, at ? u->in[0] : NULL};
	pai_slot *outs[] = {out, at ? NULL : pai_slot_temp(p, x->tensor.nbytes)};
	if (at)
		s->up = &u->in[0]->tensor;
	else
		s->rows = &outs[1]->tensor;
	double n = 10.0 * (double)s->n * (double)s->classes;
	pai_step_info info = {.node = u->node,
			      .name = u->node->op_type,
			      .impl = p->own->name,
			      .flops = n,
			      .bytes = n};
	pai_plan_emit(p, (pai_step){at ? run_loss_grad : run_loss, s}, info, 3, in, 2, outs);
	*taken = true;
	return PAI_OK;
}

pai_status pai_fast_cross_entropy(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit_loss(p, u, 0, taken);
}

pai_status pai_fast_cross_entropy_grad(pai_plan *p, pai_unit *u, bool *taken)
{
	if (u->in[0]->place == PAI_IN_BUFFER || u->in[0]->tensor.dtype != PAI_FLOAT ||
	    pai_tensor_nelem(&u->in[0]->tensor) != 1)
		return PAI_OK;
	return emit_loss(p, u, 1, taken);
}
