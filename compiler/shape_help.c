/* shape_help.c -- what rules of shape inference have in common: reading sizes and small integer
 * contents, axes, broadcasting, and types as text. Ranks above PAI_MAX_RANK count as unknown, so
 * that rules may keep sizes in arrays of that length.
 */
#include "compiler/compiler.h"
#include <string.h>

enum { MAX_INTS = 65536 }; /* longest list of integers a rule reads as sizes */

bool pai_shape_known(const pai_shape_ctx *s, int i)
{
	return i >= 0 && i < s->n_in && s->in[i] && s->in[i]->kind == PAI_TYPE_TENSOR &&
	       s->in[i]->rank >= 0 && s->in[i]->rank <= PAI_MAX_RANK;
}

void pai_shape_set(pai_shape_ctx *s, int o, int rank, const pai_dim *dims)
{
	if (o >= s->n_out)
		return;
	pai_dim *copy = PAI_NEWS(s->arena, pai_dim, rank);
	for (int i = 0; i < rank; i++) {
		int64_t v;
		bool negative = dims[i] < 0 && pai_dim_const(s->ctx, dims[i], &v);
		copy[i] = negative ? PAI_DIM_UNKNOWN : dims[i];
	}
	s->out[o].kind = PAI_TYPE_TENSOR;
	s->out[o].rank = rank;
	s->out[o].dims = copy;
}

void pai_shape_copy(pai_shape_ctx *s, int o, int i)
{
	if (pai_shape_known(s, i))
		pai_shape_set(s, o, s->in[i]->rank, s->in[i]->dims);
}

/* Element k as a size; false where it is no integer. */
static bool element(const pai_shape_ctx *s, const pai_tensor *t, int64_t k, pai_dim *out)
{
	pai_dtype_kind kind = pai_dtype_get((int)t->dtype)->kind;
	if (kind == PAI_KIND_FLOAT) {
		double v = pai_tensor_get(t, k);
		if (!(v > -9e15 && v < 9e15) || v != (double)(int64_t)v)
			return false;
		*out = pai_dim_int(s->ctx, (int64_t)v);
		return true;
	}
	*out = pai_dim_int(s->ctx, pai_tensor_get_int(t, k));
	return kind == PAI_KIND_SIGNED || kind == PAI_KIND_UNSIGNED || kind == PAI_KIND_BOOL;
}

int pai_shape_ints(const pai_shape_ctx *s, int i, const pai_dim **out)
{
	*out = NULL;
	if (i < 0 || i >= s->n_in || !s->in[i])
		return -1;
	if (s->n_dims[i] >= 0) {
		*out = s->dims[i];
		return s->n_dims[i];
	}
	const pai_tensor *t = s->data[i];
	if (!t || t->rank > 1 || t->dtype == PAI_STRING)
		return -1;
	int64_t n = pai_tensor_nelem(t);
	if (n < 0 || n > MAX_INTS || (n && !t->data))
		return -1;
	pai_dim *dims = PAI_NEWS(s->arena, pai_dim, n);
	for (int64_t k = 0; k < n; k++)
		if (!element(s, t, k, &dims[k]))
			return -1;
	*out = dims;
	return (int)n;
}

pai_status pai_shape_axis(pai_shape_ctx *s, int64_t axis, int rank, int64_t *out)
{
	if (axis < -rank || axis >= rank)
		return pai_fail(s->ctx, PAI_E_shape_axis, pai_at_node(s->node),
				"axis is %lld, must be in [%d, %d]", (long long)axis, -rank,
				rank - 1);
	*out = axis < 0 ? axis + rank : axis;
	return PAI_OK;
}

/* As numbers: count, or -1 when one is not known. */
static int known_ints(const pai_shape_ctx *s, int i, const int64_t **out)
{
	const pai_dim *dims;
	int n = pai_shape_ints(s, i, &dims);
	int64_t *v = n > 0 ? PAI_NEWS(s->arena, int64_t, n) : NULL;
	for (int k = 0; k < n; k++)
		if (!pai_dim_const(s->ctx, dims[k], &v[k]))
			return -1;
	*out = v;
	return n;
}

int pai_shape_axes(pai_shape_ctx *s, const char *name, int i, int rank, int64_t **out)
{
	const int64_t *given = NULL;
	*out = NULL;
	int n = pai_node_ints(s->node, name, &given);
	if (n < 0 && (i < 0 || i >= s->n_in || !s->in[i]))
		return 0;
	if (n < 0)
		n = known_ints(s, i, &given);
	if (n < 0)
		return -1;
	int64_t *axes = PAI_NEWS(s->arena, int64_t, n + 1);
	uint64_t seen = 0;
	*out = axes;
	for (int k = 0; k < n; k++) {
		axes[k] = given[k];
		if (rank < 0)
			continue;
		if (pai_shape_axis(s, given[k], rank, &axes[k]) != PAI_OK)
			return -2;
		if (seen >> axes[k] & 1) {
			(void)pai_fail(s->ctx, PAI_E_shape_axis, pai_at_node(s->node),
				       "axis %lld is named twice", (long long)axes[k]);
			return -2;
		}
		seen |= (uint64_t)1 << axes[k];
	}
	return n;
}

/* The size of one broadcast dimension; false: the two do not fit. */
static bool broadcast_dim(pai_dim a, pai_dim b, pai_dim *out)
{
	if (pai_dim_equal(a, b) || b == 1)
		*out = a;
	else if (a == 1)
		*out = b;
	else if (a >= 0 && b >= 0)
		return false;
	else /* a number other than 1 decides: the other size is the same, or 1 */
		*out = a >= 0 ? a : b >= 0 ? b : PAI_DIM_UNKNOWN;
	return true;
}

int pai_dims_broadcast(pai_ctx *ctx, int ra, const pai_dim *a, int rb, const pai_dim *b,
		       pai_dim *out)
{
	int rank = ra > rb ? ra : rb;
	(void)ctx;
	for (int k = 0; k < rank; k++) { /* from the last dimension */
		pai_dim x = k < ra ? a[ra - 1 - k] : 1, y = k < rb ? b[rb - 1 - k] : 1;
		if (!broadcast_dim(x, y, &out[rank - 1 - k]))
			return -1;
	}
	return rank;
}

static const char *dims_text(pai_ctx *ctx, pai_arena *a, const pai_type *t)
{
	const char *text = "";
	if (t->rank <= 0)
		return t->rank < 0 ? "[]" : "";
	for (int i = 0; i < t->rank && i < PAI_MAX_RANK; i++)
		text = pai_arena_printf(a, "%s%s%s", text, i ? "," : "",
					pai_dim_text(ctx, t->dims[i]));
	return pai_arena_printf(a, "[%s]", text);
}

const char *pai_type_text(pai_ctx *ctx, pai_arena *a, const pai_type *t)
{
	const char *head = "";
	int depth = 0;
	for (; t && t->elem && depth < 16; t = t->elem, depth++) {
		const char *name = t->kind == PAI_TYPE_SEQUENCE   ? "seq"
				   : t->kind == PAI_TYPE_OPTIONAL ? "optional"
								  : "map";
		head = pai_arena_printf(a, "%s%s(", head, name);
		if (t->kind == PAI_TYPE_MAP)
			head = pai_arena_printf(a, "%s%s, ", head,
						pai_dtype_get((int)t->dtype)->text);
	}
	const char *tail = &"))))))))))))))))"[16 - depth];
	if (!t || t->kind == PAI_TYPE_UNKNOWN)
		return pai_arena_printf(a, "%s?%s", head, tail);
	return pai_arena_printf(
		a, "%s%s%s%s%s", head, t->kind == PAI_TYPE_SPARSE_TENSOR ? "sparse_" : "",
		t->dtype ? pai_dtype_get((int)t->dtype)->text : "?", dims_text(ctx, a, t), tail);
}
