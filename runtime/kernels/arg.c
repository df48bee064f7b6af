/* arg.c -- ArgMax and ArgMin: the index of the extremum along an axis; of equal ones the first, or
 * the last with select_last_index. */
#include "runtime/kernels/lanes.h"
#include <string.h>

typedef struct search { /* x is [outer, n, inner] */
	int64_t outer, n, inner;
	bool least, last;
} search;

#define FIND(name, T)                                                                      \
	static void name(const search *s, const void *from, int64_t *index, void *scratch) \
	{                                                                                  \
		T *best = scratch;                                                         \
		for (int64_t o = 0; o < s->outer; o++, index += s->inner) {                \
			const T *x = (const T *)from + o * s->n * s->inner;                \
			memcpy(best, x, sizeof(T) * (size_t)s->inner);                     \
			memset(index, 0, sizeof *index *(size_t)s->inner);                 \
			for (int64_t i = 1; i < s->n; i++)                                 \
				for (int64_t k = 0; k < s->inner; k++) {                   \
					const T v = x[i * s->inner + k];                   \
					if (s->least ? v < best[k] : v > best[k])          \
						best[k] = v;                               \
					else if (!s->last || v != best[k])                 \
						continue;                                  \
					index[k] = i;                                      \
				}                                                          \
		}                                                                          \
	}
FIND(find_f32, float)
FIND(find_f64, double)
FIND(find_i64, int64_t)
FIND(find_u64, uint64_t)

static pai_status arg_reduce(pai_call *c, bool least)
{
	static void (*const find[PAI_LANES])(const search *, const void *, int64_t *,
					     void *) = {find_f32, find_f64, find_i64, find_u64};
	const pai_tensor *x = c->in[0];
	pai_lane lane = pai_lane_of(x->dtype);
	int64_t axis = pai_node_int(c->node, "axis", 0);
	bool keep = pai_node_int(c->node, "keepdims", 1) != 0;
	if (lane == PAI_LANE_NONE || axis < -x->rank || axis >= x->rank)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"has no numbers, or no axis %lld", (long long)axis);
	axis += axis < 0 ? x->rank : 0;
	search s = {1, x->dims[axis], 1, least, pai_node_int(c->node, "select_last_index", 0) != 0};
	int64_t dims[PAI_MAX_RANK];
	int rank = 0;
	for (int d = 0; d < x->rank; d++) {
		if (d != axis)
			*(d < axis ? &s.outer : &s.inner) *= x->dims[d];
		if (d != axis || keep)
			dims[rank++] = d == axis ? 1 : x->dims[d];
	}
	PAI_TRY(pai_call_output(c, 0, PAI_INT64, rank, dims));
	if (s.outer == 0 || s.inner == 0)
		return PAI_OK;
	if (s.n == 0)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"has no element along axis %lld", (long long)axis);
	const void *from = pai_lane_view(c, lane, x);
	void *best = pai_call_scratch(c, (size_t)s.inner * sizeof(double));
	if (!from || !best)
		return pai_call_nomem(c);
	find[lane](&s, from, c->out[0]->data, best);
	return PAI_OK;
}

static pai_status arg_max(pai_call *c)
{
	return arg_reduce(c, false);
}
const pai_kernel pai_kernel_arg_max = {.run = arg_max};

static pai_status arg_min(pai_call *c)
{
	return arg_reduce(c, true);
}
const pai_kernel pai_kernel_arg_min = {.run = arg_min};
