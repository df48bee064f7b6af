/* shape_rules_sequence.c -- rules of recurrent layers, attention and Einsum, and of the operators
 * on sequences of tensors and optional values.
 */
#include "compiler/einsum.h"
#include <string.h>

static pai_status wrong_rank(pai_shape_ctx *s, int i, const char *need)
{
	return pai_fail(s->ctx, PAI_E_shape_rank, pai_at_input(s->node, i), "is %s, needs %s",
			pai_type_text(s->ctx, s->arena, s->in[i]), need);
}

static pai_status check_state(pai_shape_ctx *s, int i, const pai_dim *want)
{
	if (!pai_shape_known(s, i))
		return PAI_OK;
	const pai_type *t = s->in[i];
	bool fits = t->rank == 3;
	for (int k = 0; fits && k < 3; k++)
		fits = t->dims[k] < 0 || want[k] < 0 || t->dims[k] == want[k];
	return fits ? PAI_OK
		    : pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, i),
			       "is %s, does not fit the batch and the weights",
			       pai_type_text(s->ctx, s->arena, t));
}

/* RNN, GRU, LSTM: X [S, B, I], R [D, _, H] -> Y [S, D, B, H], last states [D, B, H]; with layout 1
 * X [B, S, I] -> Y [B, S, D, H], last states [B, D, H]. hidden_axis: where R has H */
static pai_status recurrent(pai_shape_ctx *s, int hidden_axis)
{
	const pai_attr *direction = pai_node_attr(s->node, "direction");
	const bool both = direction && direction->type == PAI_ATTR_STRING &&
			  strcmp(direction->s.at, "bidirectional") == 0;
	const bool batch_first = pai_node_int(s->node, "layout", 0) != 0;
	const int64_t given = pai_node_int(s->node, "hidden_size", 0);
	for (int i = 0; i < 3; i++)
		if (pai_shape_known(s, i) && s->in[i]->rank != 3)
			return wrong_rank(s, i, "rank 3");
	const pai_dim *x = pai_shape_known(s, 0) ? s->in[0]->dims : NULL;
	const pai_dim *r = pai_shape_known(s, 2) ? s->in[2]->dims : NULL;
	const pai_dim unknown = PAI_DIM_UNKNOWN, n = both ? 2 : 1;
	const pai_dim of_r = r ? r[hidden_axis] : unknown;
	const pai_dim hidden = of_r >= 0 ? of_r : given > 0 ? given : unknown;
	if (of_r >= 0 && given > 0 && given != of_r)
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "hidden_size"),
				"is %lld, the recurrent weight has %lld", (long long)given,
				(long long)of_r);
	const pai_dim steps = x ? x[batch_first] : unknown, batch = x ? x[!batch_first] : unknown;
	const pai_dim all[] = {steps, n, batch, hidden}, all_first[] = {batch, steps, n, hidden};
	const pai_dim last[] = {n, batch, hidden}, last_first[] = {batch, n, hidden};
	for (int i = 5; i < 7; i++) /* initial states */
		PAI_TRY(check_state(s, i, batch_first ? last_first : last));
	pai_shape_set(s, 0, 4, batch_first ? all_first : all);
	for (int o = 1; o < s->n_out; o++)
		pai_shape_set(s, o, 3, batch_first ? last_first : last);
	return PAI_OK;
}

pai_status pai_shape_recurrent(pai_shape_ctx *s)
{
	return recurrent(s, 2);
}

/* R [D, H, _] */
pai_status pai_shape_dynamic_quantize_lstm(pai_shape_ctx *s)
{
	return recurrent(s, 1);
}

typedef struct heads { /* an input of Attention as [B, heads, length, size] */
	pai_dim batch, count, length, size;
} heads;

/* Input i has rank 4, or rank 3 with the heads side by side in the last axis. */
static pai_status read_heads(pai_shape_ctx *s, int i, const char *attr, heads *out)
{
	const pai_dim *d = s->in[i]->dims;
	const int64_t n = pai_node_int(s->node, attr, 0);
	if (s->in[i]->rank == 4) {
		*out = (heads){d[0], d[1], d[2], d[3]};
		return PAI_OK;
	}
	if (s->in[i]->rank != 3)
		return wrong_rank(s, i, "rank 3 or 4");
	if (n < 1)
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, attr),
				"is %lld, must be at least 1 for inputs of rank 3", (long long)n);
	*out = (heads){d[0], n, d[1], pai_dim_div(s->ctx, d[2], n)};
	return PAI_OK;
}

pai_status pai_shape_attention(pai_shape_ctx *s)
{
	heads q, k, v;
	for (int i = 0; i < 3; i++)
		if (!pai_shape_known(s, i))
			return PAI_OK;
	PAI_TRY(read_heads(s, 0, "q_num_heads", &q));
	PAI_TRY(read_heads(s, 1, "kv_num_heads", &k));
	PAI_TRY(read_heads(s, 2, "kv_num_heads", &v));
	pai_dim total = k.length;
	if (s->n_in > 4 && s->in[4]) {
		const bool known = pai_shape_known(s, 4) && s->in[4]->rank == 4;
		total = pai_dim_add(s->ctx, total, known ? s->in[4]->dims[2] : PAI_DIM_UNKNOWN);
	}
	const pai_dim y4[] = {q.batch, q.count, q.length, v.size};
	const pai_dim y3[] = {q.batch, q.length, pai_dim_mul(s->ctx, q.count, v.size)};
	const pai_dim key[] = {k.batch, k.count, total, k.size};
	const pai_dim value[] = {v.batch, v.count, total, v.size};
	const pai_dim scores[] = {q.batch, q.count, q.length, total};
	pai_shape_set(s, 0, s->in[0]->rank, s->in[0]->rank == 4 ? y4 : y3);
	pai_shape_set(s, 1, 4, key);
	pai_shape_set(s, 2, 4, value);
	pai_shape_set(s, 3, 4, scores);
	return PAI_OK;
}

static pai_status bad_equation(pai_shape_ctx *s, const char *why)
{
	return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "equation"), "%s", why);
}

/* Another size of a label. What "..." stands for is broadcast; NULL, or what is wrong. */
static const char *merge_size(pai_shape_ctx *s, int label, pai_dim d, bool met, pai_dim *size)
{
	const pai_dim had = *size;
	if (met && label >= PAI_EINSUM_LETTERS)
		return pai_dims_broadcast(s->ctx, 1, &had, 1, &d, size) < 0
			       ? "has sizes behind ... that do not broadcast"
			       : NULL;
	if (met && had > 1 && d > 1 && had != d)
		return "gives one letter two sizes";
	if (!met || had == 1 || (had < 0 && d >= 0 && d != 1))
		*size = d;
	return NULL;
}

pai_status pai_shape_einsum(pai_shape_ctx *s)
{
	const pai_attr *a = pai_node_attr(s->node, "equation");
	pai_dim size[PAI_EINSUM_LABELS], out[PAI_MAX_RANK];
	bool met[PAI_EINSUM_LABELS] = {false};
	int of[PAI_MAX_RANK], rank;
	if (!a || a->type != PAI_ATTR_STRING || a->ref)
		return PAI_OK;
	for (int i = 0; i < s->n_in; i++)
		if (!pai_shape_known(s, i))
			return PAI_OK;
	pai_einsum e = pai_einsum_of(a->s.at);
	for (int i = 0; i < s->n_in; i++) {
		const char *why = pai_einsum_operand_labels(&e, s->in[i]->rank, of);
		for (int d = 0; !why && d < s->in[i]->rank; d++) {
			why = merge_size(s, of[d], s->in[i]->dims[d], met[of[d]], &size[of[d]]);
			met[of[d]] = true;
		}
		if (why)
			return bad_equation(s, why);
	}
	const char *why = pai_einsum_result_labels(&e, &rank, of);
	if (why)
		return bad_equation(s, why);
	for (int d = 0; d < rank; d++)
		out[d] = size[of[d]];
	pai_shape_set(s, 0, rank, out);
	return PAI_OK;
}

static void set_wrapped(pai_shape_ctx *s, pai_type_kind kind, const pai_type *elem)
{
	s->out[0] = (pai_type){
		.kind = kind, .rank = -1, .elem = pai_arena_dup(s->arena, elem, sizeof *elem)};
}

/* A sequence of what all inputs have in common. */
pai_status pai_shape_sequence_construct(pai_shape_ctx *s)
{
	if (s->n_in < 1 || !s->in[0] || s->in[0]->kind != PAI_TYPE_TENSOR)
		return PAI_OK;
	pai_type elem = *s->in[0];
	for (int i = 1; i < s->n_in; i++) {
		if (!pai_shape_known(s, i) || elem.rank != s->in[i]->rank) {
			elem.rank = -1;
			break;
		}
		pai_dim *dims = PAI_NEWS(s->arena, pai_dim, elem.rank);
		for (int k = 0; k < elem.rank; k++)
			dims[k] = pai_dim_equal(elem.dims[k], s->in[i]->dims[k]) ? elem.dims[k]
										 : PAI_DIM_UNKNOWN;
		elem.dims = dims;
	}
	set_wrapped(s, PAI_TYPE_SEQUENCE, &elem);
	return PAI_OK;
}

pai_status pai_shape_sequence_empty(pai_shape_ctx *s)
{
	const int64_t dtype = pai_node_int(s->node, "dtype", PAI_FLOAT);
	if (dtype <= 0 || dtype >= PAI_DTYPE_COUNT)
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "dtype"),
				"%lld is no element type", (long long)dtype);
	const pai_type elem = {.kind = PAI_TYPE_TENSOR, .dtype = (pai_dtype)dtype, .rank = -1};
	set_wrapped(s, PAI_TYPE_SEQUENCE, &elem);
	return PAI_OK;
}

/* SequenceAt, OptionalGetElement: what is inside; what is no optional is its own element. */
pai_status pai_shape_element(pai_shape_ctx *s)
{
	const pai_type *x = s->in[0];
	const bool sequence = pai_node_is(s->node, "SequenceAt");
	const pai_type_kind wrapper = sequence ? PAI_TYPE_SEQUENCE : PAI_TYPE_OPTIONAL;
	if (x && x->kind == wrapper && x->elem)
		s->out[0] = *x->elem;
	else if (x && !sequence && x->kind != PAI_TYPE_UNKNOWN)
		s->out[0] = *x;
	return PAI_OK;
}

/* SequenceInsert, SequenceErase: elements of any shape may come in. */
pai_status pai_shape_sequence_change(pai_shape_ctx *s)
{
	if (s->n_in < 1 || !s->in[0] || !s->in[0]->elem)
		return PAI_OK;
	pai_type elem = *s->in[0]->elem;
	if (pai_node_is(s->node, "SequenceInsert"))
		elem.rank = -1;
	set_wrapped(s, PAI_TYPE_SEQUENCE, &elem);
	return PAI_OK;
}

/* SequenceLength, OptionalHasElement: one number. */
pai_status pai_shape_scalar(pai_shape_ctx *s)
{
	pai_shape_set(s, 0, 0, NULL);
	return PAI_OK;
}

pai_status pai_shape_optional(pai_shape_ctx *s)
{
	const pai_attr *a = pai_node_attr(s->node, "type");
	const pai_type *elem = s->n_in > 0 ? s->in[0] : NULL;
	if (!elem && a && a->type == PAI_ATTR_TYPE_PROTO)
		elem = a->type_value;
	if (elem && elem->kind != PAI_TYPE_UNKNOWN)
		set_wrapped(s, PAI_TYPE_OPTIONAL, elem);
	return PAI_OK;
}

/* Pieces along an axis; their size there is known where it is one number. */
pai_status pai_shape_split_to_sequence(pai_shape_ctx *s)
{
	if (s->n_in < 1 || !s->in[0] || s->in[0]->kind != PAI_TYPE_TENSOR)
		return PAI_OK;
	pai_type elem = {.kind = PAI_TYPE_TENSOR, .dtype = s->in[0]->dtype, .rank = -1};
	if (pai_shape_known(s, 0)) {
		const pai_type *x = s->in[0];
		const bool given = s->n_in > 1 && s->in[1];
		const bool drop = !given && !pai_node_int(s->node, "keepdims", 1);
		int64_t axis;
		PAI_TRY(pai_shape_axis(s, pai_node_int(s->node, "axis", 0), x->rank, &axis));
		elem.dims = PAI_NEWS(s->arena, pai_dim, x->rank);
		elem.rank = 0;
		for (int i = 0; i < x->rank; i++)
			if (i != axis)
				elem.dims[elem.rank++] = x->dims[i];
			else if (!drop)
				elem.dims[elem.rank++] = given ? PAI_DIM_UNKNOWN : 1;
	}
	set_wrapped(s, PAI_TYPE_SEQUENCE, &elem);
	return PAI_OK;
}

pai_status pai_shape_concat_from_sequence(pai_shape_ctx *s)
{
	const pai_type *elem = s->n_in > 0 && s->in[0] ? s->in[0]->elem : NULL;
	pai_dim out[PAI_MAX_RANK + 1];
	int64_t axis;
	if (!elem)
		return PAI_OK;
	s->out[0] = (pai_type){.kind = PAI_TYPE_TENSOR, .dtype = elem->dtype, .rank = -1};
	if (elem->rank < 0 || elem->rank > PAI_MAX_RANK)
		return PAI_OK;
	const int more = pai_node_int(s->node, "new_axis", 0) != 0;
	PAI_TRY(pai_shape_axis(s, pai_node_int(s->node, "axis", 0), elem->rank + more, &axis));
	for (int i = 0, from = 0; i < elem->rank + more; i++) {
		out[i] = PAI_DIM_UNKNOWN;
		if (i != axis)
			out[i] = elem->dims[from];
		from += i != axis || !more;
	}
	pai_shape_set(s, 0, elem->rank + more, out);
	return PAI_OK;
}
