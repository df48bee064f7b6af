/* reduce.c -- sums over axes. Axes are taken in the order of memory and joined where neighbours are
 * both summed or both kept; what is left must be one of a few patterns. */
#include "runtime/fast/fast.h"

typedef struct reduce_step {
	const pai_own *own;
	const pai_tensor *x, *y;
	int64_t outer, rows, cols; /* y[outer, cols] = sum over rows, or y[outer] over cols */
	bool over_cols;
	float scale;
} reduce_step;

static pai_status run(void *args, pai_run *run)
{
	const reduce_step *s = args;
	float *y = s->y->data;
	const float *x = s->x->data;
	int64_t n = 0;
	(void)run;
	if (s->over_cols) {
		for (; n < s->outer; n++)
			y[n] = s->own->sum(s->cols, x + n * s->cols);
	} else {
		for (int64_t i = 0; i < s->outer; i++)
			s->own->sum_rows(s->rows, s->cols, x + i * s->rows * s->cols, s->cols,
					 y + i * s->cols);
		n = s->outer * s->cols;
	}
	if (s->scale != 1)
		s->own->zip(PAI_ZIP_MUL, n, y, 1, &s->scale, 0, y);
	return PAI_OK;
}

/* Which axes of x are summed; false: not known here, or another operator. */
static bool summed_axes(const pai_unit *u, bool *summed)
{
	const pai_tensor *x = &u->in[0]->tensor;
	const pai_tensor *list = pai_slot_constant(u->n_in > 1 ? u->in[1] : NULL);
	for (int i = 0; i < x->rank; i++)
		summed[i] = false;
	if (pai_node_is_in(u->node, PAI_DOMAIN_INTERNAL, "SumTo")) {
		int64_t skip = pai_node_int(u->node, "skip", 0);
		if (!list)
			return false;
		int64_t n = pai_tensor_nelem(list), shift = x->rank - skip - n;
		for (int i = 0; i < x->rank; i++) {
			int64_t at = i - shift;
			bool beyond = at < 0 || at >= n;
			summed[i] = beyond || (pai_tensor_get_int(list, at) == 1);
		}
		return shift >= 0;
	}
	const int64_t *axes;
	int64_t n = pai_node_ints(u->node, "axes", &axes);
	bool input = u->n_in > 1 && u->in[1];
	if (input && !list)
		return false;
	if (input)
		n = pai_tensor_nelem(list);
	for (int64_t i = 0; i < n; i++) {
		int64_t a = input ? pai_tensor_get_int(list, i) : axes[i];
		a += a < 0 ? x->rank : 0;
		if (a < 0 || a >= x->rank)
			return false;
		summed[a] = true;
	}
	if (n <= 0) {
		if (pai_node_int(u->node, "noop_with_empty_axes", 0))
			return false;
		for (int i = 0; i < x->rank; i++)
			summed[i] = true;
	}
	return true;
}

static bool is_float(const pai_unit *u)
{
	return !u->dynamic && u->in[0] && u->out[0] && u->in[0]->place != PAI_IN_BUFFER &&
	       u->in[0]->tensor.dtype == PAI_FLOAT && u->out[0]->tensor.dtype == PAI_FLOAT;
}

bool pai_unit_sums_to_channels(const pai_unit *u)
{
	bool summed[PAI_MAX_RANK];
	if (!(pai_node_is(u->node, "ReduceSum") ||
	      pai_node_is_in(u->node, PAI_DOMAIN_INTERNAL, "SumTo")) ||
	    !is_float(u) || u->in[0]->tensor.rank < 3 || !summed_axes(u, summed))
		return false;
	bool yes = !summed[1];
	for (int i = 0; i < u->in[0]->tensor.rank; i++)
		yes &= i == 1 || summed[i] || u->in[0]->tensor.dims[i] == 1;
	return yes;
}

static pai_status emit(pai_plan *p, pai_unit *u, bool *taken, bool mean)
{
	bool summed[PAI_MAX_RANK], kinds[PAI_MAX_RANK + 1];
	int64_t dims[PAI_MAX_RANK + 1], of = 1;
	int n = 0;
	if (!is_float(u) || !summed_axes(u, summed) || !pai_tensor_nelem(&u->in[0]->tensor))
		return PAI_OK;
	pai_slot *x = u->in[0], *y = u->out[0];
	const pai_tensor *t = &x->tensor;
	/* What is kept beside channels would come out channels last: sum plain contents then. */
	bool kept_space = false;
	for (int i = 2; i < t->rank; i++)
		kept_space |= !summed[i];
	if (x->channels_last && kept_space)
		x = pai_slot_in(p, x, false);
	for (int i = 0; i < t->rank; i++) {
		int axis = pai_memory_axis(t->rank, i, x->channels_last);
		of *= summed[axis] ? t->dims[axis] : 1;
		if (t->dims[axis] == 1)
			continue;
		if (n && kinds[n - 1] == summed[axis]) {
			dims[n - 1] *= t->dims[axis];
		} else {
			dims[n] = t->dims[axis];
			kinds[n++] = summed[axis];
		}
	}
	reduce_step *s = PAI_NEW(p->arena, reduce_step);
	*s = (reduce_step){.own = p->own,
			   .x = &x->tensor,
			   .y = &y->tensor,
			   .outer = 1,
			   .rows = 1,
			   .cols = 1,
			   .scale = mean ? 1.0f / (float)of : 1};
	if (n > 3 || (n == 3 && kinds[0]))
		return PAI_OK;
	if (n && kinds[n - 1]) { /* [kept] summed */
		s->over_cols = true;
		s->cols = dims[n - 1];
		s->outer = n > 1 ? dims[n - 2] : 1;
	} else { /* [[kept] summed] kept */
		s->cols = n ? dims[n - 1] : 1;
		s->rows = n > 1 ? dims[n - 2] : 1;
		s->outer = n > 2 ? dims[n - 3] : 1;
	}
	double all = (double)pai_tensor_nelem(t);
	pai_step_info info = {.node = u->node,
			      .name = u->node->op_type,
			      .impl = p->own->name,
			      .flops = all,
			      .bytes = 4 * all};
	pai_plan_emit(p, (pai_step){run, s}, info, 1, &x, 1, &y);
	*taken = true;
	return PAI_OK;
}

pai_status pai_fast_reduce_sum(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, false);
}

pai_status pai_fast_reduce_mean(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, true);
}
