/* indices.c -- checked index tensors, and reductions of the scatters. */
#include "runtime/kernels/indices.h"
#include "runtime/kernels/lanes.h"
#include <math.h>
#include <string.h>

pai_status pai_call_positions(pai_call *c, int slot, int64_t size, int64_t **out)
{
	const pai_tensor *t = c->in[slot];
	int64_t n = pai_tensor_nelem(t);
	void *room = NULL;
	if (t->dtype != PAI_INT32 && t->dtype != PAI_INT64)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, slot),
				"is %s, expected integers", pai_dtype_get(t->dtype)->text);
	PAI_TRY(pai_call_room(c, n, sizeof(int64_t), &room));
	int64_t *at = room;
	for (int64_t i = 0; i < n; i++) {
		int64_t v = t->dtype == PAI_INT32 ? ((const int32_t *)t->data)[i]
						  : ((const int64_t *)t->data)[i];
		if (v < -size || v >= size)
			return pai_fail(c->ctx, PAI_E_bad_index, pai_at_input(c->node, slot),
					"element %lld is %lld, outside [-%lld, %lld)", (long long)i,
					(long long)v, (long long)size, (long long)size);
		at[i] = v < 0 ? v + size : v;
	}
	*out = at;
	return PAI_OK;
}

pai_status pai_call_reduction(pai_call *c, pai_reduction *out)
{
	static const char *const names[] = {"none", "add", "mul", "max", "min"};
	const char *given = pai_node_string(c->node, "reduction", "none");
	for (int i = 0; i < 5; i++)
		if (strcmp(given, names[i]) == 0) {
			*out = (pai_reduction)i;
			pai_dtype_kind kind = pai_dtype_get(c->in[0]->dtype)->kind;
			if (i == 0 || (kind != PAI_KIND_STRING && kind != PAI_KIND_COMPLEX))
				return PAI_OK;
		}
	return pai_fail(
		c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "reduction"),
		"is none of none, add, mul, max, min, or does not fit the type of the data");
}

static double combine(pai_reduction how, double a, double b)
{
	switch (how) {
	case PAI_REDUCE_NONE:
		return b;
	case PAI_REDUCE_ADD:
		return a + b;
	case PAI_REDUCE_MUL:
		return a * b;
	case PAI_REDUCE_MAX:
		return isnan(a) || a > b ? a : b;
	case PAI_REDUCE_MIN:
		return isnan(a) || a < b ? a : b;
	}
	return b;
}

/* The same for integers, which wrap around; `top` is the sign bit where they are unsigned, so that
 * their order is that of the signed ones. */
static uint64_t combine_int(pai_reduction how, uint64_t a, uint64_t b, uint64_t top)
{
	bool greater = (int64_t)(a ^ top) > (int64_t)(b ^ top);
	switch (how) {
	case PAI_REDUCE_NONE:
		return b;
	case PAI_REDUCE_ADD:
		return a + b;
	case PAI_REDUCE_MUL:
		return a * b;
	case PAI_REDUCE_MAX:
		return greater ? a : b;
	case PAI_REDUCE_MIN:
		return greater ? b : a;
	}
	return b;
}

void pai_reduce_into(pai_reduction how, pai_tensor *y, int64_t at, const pai_tensor *from,
		     int64_t first, int64_t n)
{
	const pai_lane lane = pai_lane_of(y->dtype);
	const uint64_t top = lane == PAI_LANE_U64 ? (uint64_t)1 << 63 : 0;
	for (int64_t i = 0; i < n; i++) {
		int64_t k = at + i;
		uint64_t a, b;
		if (lane != PAI_LANE_I64 && lane != PAI_LANE_U64) {
			pai_tensor_set(y, k,
				       combine(how, pai_tensor_get(y, k),
					       pai_tensor_get(from, first + i)));
			continue;
		}
		pai_lane_load(lane, &a, y->dtype, y->data, k, 1);
		pai_lane_load(lane, &b, y->dtype, from->data, first + i, 1);
		a = combine_int(how, a, b, top);
		pai_lane_store(lane, &a, y->dtype, y->data, k, 1);
	}
}
