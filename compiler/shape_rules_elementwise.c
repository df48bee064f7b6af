/* shape_rules_elementwise.c -- rules of operators whose output has the shape of their inputs, alone
 * or broadcast; and the arithmetic on small integer contents that shape computations are made of.
 */
#include "compiler/compiler.h"
#include <string.h>

enum { SMALL = 128 }; /* most elements of contents that are followed */

static bool is_short(const pai_type *t)
{
	return t->rank == 0 || (t->rank == 1 && t->dims[0] >= 0 && t->dims[0] <= SMALL);
}

static void negate(pai_shape_ctx *s)
{
	const pai_dim *dims;
	if (!pai_shape_known(s, 0) || !is_short(s->in[0]))
		return;
	int n = pai_shape_ints(s, 0, &dims);
	pai_dim *out = PAI_NEWS(s->arena, pai_dim, n + 1);
	for (int i = 0; i < n; i++)
		out[i] = pai_dim_sub(s->ctx, 0, dims[i]);
	s->out_dims[0] = out;
	s->n_out_dims[0] = n;
}

pai_status pai_shape_same(pai_shape_ctx *s)
{
	static const char *const keep[] = {"Identity", "Floor", "Ceil", "Round"};
	if (s->n_in < 1 || !s->in[0])
		return PAI_OK;
	if (s->in[0]->kind != PAI_TYPE_TENSOR && s->in[0]->kind != PAI_TYPE_UNKNOWN &&
	    s->out[0].kind == s->in[0]->kind)
		s->out[0] = *s->in[0];
	pai_shape_copy(s, 0, 0);
	for (size_t i = 0; i < sizeof keep / sizeof *keep && is_short(s->in[0]); i++)
		if (strcmp(s->node->op_type, keep[i]) == 0)
			s->n_out_dims[0] = pai_shape_ints(s, 0, &s->out_dims[0]);
	if (strcmp(s->node->op_type, "Neg") == 0)
		negate(s);
	return PAI_OK;
}

/* Each gives the result for one pair of elements, PAI_DIM_UNKNOWN where it cannot be told. */

static pai_dim element_div(pai_ctx *ctx, pai_dim a, pai_dim b)
{
	int64_t x, y;
	if (pai_dim_const(ctx, a, &x) && pai_dim_const(ctx, b, &y))
		return y == 0 ? PAI_DIM_UNKNOWN : pai_dim_int(ctx, x / y); /* towards zero */
	pai_dim exact = pai_dim_div_dim(ctx, a, b);
	return exact != PAI_DIM_UNKNOWN ? exact : b > 0 ? pai_dim_div(ctx, a, b) : exact;
}

static pai_dim element_mod(pai_ctx *ctx, pai_dim a, pai_dim b)
{
	int64_t x, y;
	if (!pai_dim_const(ctx, a, &x) || !pai_dim_const(ctx, b, &y) || x < 0 || y <= 0)
		return PAI_DIM_UNKNOWN;
	return x % y;
}

/* The sign of a - b: *out < 0, 0, > 0; false where it is not known.  */
static bool order(pai_ctx *ctx, pai_dim a, pai_dim b, int64_t *out)
{
	int64_t x, y;
	*out = 0;
	if (pai_dim_equal(a, b) || pai_dim_const(ctx, pai_dim_sub(ctx, a, b), out))
		return true;
	if (pai_dim_const(ctx, b, &y) && y < 0 && pai_dim_at_least(ctx, a, 0))
		*out = 1;
	else if (pai_dim_const(ctx, a, &x) && x < 0 && pai_dim_at_least(ctx, b, 0))
		*out = -1;
	return *out != 0;
}

static pai_dim element_min(pai_ctx *ctx, pai_dim a, pai_dim b)
{
	int64_t sign;
	return !order(ctx, a, b, &sign) ? PAI_DIM_UNKNOWN : sign < 0 ? a : b;
}

static pai_dim element_max(pai_ctx *ctx, pai_dim a, pai_dim b)
{
	int64_t sign;
	return !order(ctx, a, b, &sign) ? PAI_DIM_UNKNOWN : sign < 0 ? b : a;
}

static pai_dim element_equal(pai_ctx *ctx, pai_dim a, pai_dim b)
{
	int64_t sign;
	return !order(ctx, a, b, &sign) ? PAI_DIM_UNKNOWN : sign == 0;
}

static pai_dim element_less(pai_ctx *ctx, pai_dim a, pai_dim b)
{
	int64_t sign;
	return !order(ctx, a, b, &sign) ? PAI_DIM_UNKNOWN : sign < 0;
}

static pai_dim element_greater(pai_ctx *ctx, pai_dim a, pai_dim b)
{
	return element_less(ctx, b, a);
}

static pai_dim element_and(pai_ctx *ctx, pai_dim a, pai_dim b)
{
	(void)ctx;
	return a == 0 || b == 0 ? 0 : a == 1 && b == 1 ? 1 : PAI_DIM_UNKNOWN;
}

static pai_dim element_or(pai_ctx *ctx, pai_dim a, pai_dim b)
{
	(void)ctx;
	return a == 1 || b == 1 ? 1 : a == 0 && b == 0 ? 0 : PAI_DIM_UNKNOWN;
}

static const struct arithmetic {
	const char *op_type;
	pai_dim (*of)(pai_ctx *ctx, pai_dim a, pai_dim b);
} arithmetic[] = {
	{"Add", pai_dim_add}, {"Sub", pai_dim_sub},         {"Mul", pai_dim_mul},
	{"Div", element_div}, {"Mod", element_mod},         {"Min", element_min},
	{"Max", element_max}, {"Equal", element_equal},     {"Less", element_less},
	{"And", element_and}, {"Greater", element_greater}, {"Or", element_or},
};

/* Contents of all inputs, of one common length or of length 1; -1: not known. */
static int contents(const pai_shape_ctx *s, const pai_dim **at, int *n)
{
	int length = 1;
	for (int i = 0; i < s->n_in; i++) {
		if (!s->in[i] || s->in[i]->rank > 1 || s->in[i]->rank < 0)
			return -1;
		if (s->in[i]->rank == 1 && (s->in[i]->dims[0] < 0 || s->in[i]->dims[0] > SMALL))
			return -1;
		n[i] = pai_shape_ints(s, i, &at[i]);
		if (n[i] < 0 || (n[i] != 1 && length != 1 && n[i] != length))
			return -1;
		if (n[i] != 1)
			length = n[i];
	}
	return length;
}

static void propagate(pai_shape_ctx *s)
{
	enum { MOST = 8 };
	const pai_dim *at[MOST];
	int n[MOST];
	const bool where = pai_node_is(s->node, "Where");
	const struct arithmetic *f = NULL;
	for (size_t i = 0; i < sizeof arithmetic / sizeof *arithmetic && !f; i++)
		if (strcmp(arithmetic[i].op_type, s->node->op_type) == 0)
			f = &arithmetic[i];
	if ((!f && !where) || s->n_in < 1 || s->n_in > MOST || (where && s->n_in != 3))
		return;
	int length = contents(s, at, n);
	if (length < 0)
		return;
	const bool real = pai_dtype_get((int)s->in[0]->dtype)->kind == PAI_KIND_FLOAT;
	pai_dim *out = PAI_NEWS(s->arena, pai_dim, length + 1);
	for (int k = 0; k < length; k++) {
		if (where) {
			pai_dim c = at[0][n[0] == 1 ? 0 : k];
			pai_dim x = at[1][n[1] == 1 ? 0 : k], y = at[2][n[2] == 1 ? 0 : k];
			out[k] = c == 1                ? x
				 : c == 0              ? y
				 : pai_dim_equal(x, y) ? x
						       : PAI_DIM_UNKNOWN;
			continue;
		}
		out[k] = at[0][n[0] == 1 ? 0 : k];
		for (int i = 1; i < s->n_in; i++) {
			pai_dim b = at[i][n[i] == 1 ? 0 : k];
			out[k] = real && f->of == element_div ? pai_dim_div_dim(s->ctx, out[k], b)
							      : f->of(s->ctx, out[k], b);
		}
	}
	s->out_dims[0] = out;
	s->n_out_dims[0] = length;
}

static pai_status no_fit(pai_shape_ctx *s, int i, int j)
{
	return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, i),
			"%s does not broadcast with %s of input %d",
			pai_type_text(s->ctx, s->arena, s->in[i]),
			pai_type_text(s->ctx, s->arena, s->in[j]), j);
}

/* Before opset 7, B is laid on A from an axis when the attribute `broadcast` is set, and has A's
 * shape otherwise: the result is of A's shape in both cases. */
static bool legacy(const pai_shape_ctx *s)
{
	return s->node->op && pai_op_attr_find(s->node->op, "broadcast");
}

pai_status pai_shape_broadcast(pai_shape_ctx *s)
{
	pai_dim dims[PAI_MAX_RANK];
	int rank = 0;
	if (legacy(s) || pai_node_is(s->node, "PRelu")) { /* PRelu: slope is laid on X only */
		pai_shape_copy(s, 0, 0);
		return PAI_OK;
	}
	for (int i = 0; i < s->n_in; i++) {
		if (!pai_shape_known(s, i))
			return PAI_OK;
		pai_dim so_far[PAI_MAX_RANK];
		pai_copy(so_far, dims, sizeof *dims * (size_t)rank);
		int now = pai_dims_broadcast(s->ctx, rank, so_far, s->in[i]->rank, s->in[i]->dims,
					     dims);
		if (now < 0)
			return no_fit(s, i, i ? i - 1 : 0);
		rank = now;
	}
	if (s->n_in > 0)
		pai_shape_set(s, 0, rank, dims);
	if (rank <= 1)
		propagate(s);
	return PAI_OK;
}

static pai_status check_dtype(pai_shape_ctx *s, const char *attr, int64_t dtype)
{
	if (dtype > 0 && dtype < PAI_DTYPE_COUNT)
		return PAI_OK;
	return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, attr),
			"%lld is no element type", (long long)dtype);
}

/* Output 0 gets the type of the attribute where that is given; version 1 of Cast has it as text. */
static pai_status typed_by_attr(pai_shape_ctx *s, const char *name)
{
	const pai_attr *a = pai_node_attr(s->node, name);
	int64_t dtype = 0;
	if (!a || a->ref)
		return PAI_OK;
	if (a->type == PAI_ATTR_STRING)
		for (int d = 1; d < PAI_DTYPE_COUNT; d++)
			if (strcmp(pai_dtype_get(d)->name, a->s.at) == 0)
				dtype = d;
	if (a->type == PAI_ATTR_INT)
		dtype = a->i;
	PAI_TRY(check_dtype(s, name, dtype));
	s->out[0].kind = PAI_TYPE_TENSOR;
	s->out[0].dtype = (pai_dtype)dtype;
	return PAI_OK;
}

pai_status pai_shape_cast(pai_shape_ctx *s)
{
	PAI_TRY(typed_by_attr(s, "to"));
	pai_shape_copy(s, 0, 0);
	if (s->in[0] && is_short(s->in[0]) && s->out[0].dtype != PAI_BOOL &&
	    s->out[0].dtype != PAI_STRING)
		s->n_out_dims[0] = pai_shape_ints(s, 0, &s->out_dims[0]);
	return PAI_OK;
}

pai_status pai_shape_cast_like(pai_shape_ctx *s)
{
	pai_shape_copy(s, 0, 0);
	return PAI_OK;
}

/* Bernoulli, EyeLike and the Random*Like operators: dtype attribute, else the type of the input. */
pai_status pai_shape_random_like(pai_shape_ctx *s)
{
	if (s->in[0] && s->in[0]->dtype) {
		s->out[0].kind = PAI_TYPE_TENSOR;
		s->out[0].dtype = s->in[0]->dtype;
	}
	PAI_TRY(typed_by_attr(s, "dtype"));
	pai_shape_copy(s, 0, 0);
	if (pai_node_is(s->node, "EyeLike") && pai_shape_known(s, 0) && s->in[0]->rank != 2)
		return pai_fail(s->ctx, PAI_E_shape_rank, pai_at_input(s->node, 0),
				"has rank %d, needs 2", s->in[0]->rank);
	return PAI_OK;
}

static pai_status check_scalar(pai_shape_ctx *s, int i)
{
	if (!pai_shape_known(s, i) || s->in[i]->rank == 0)
		return PAI_OK;
	if (s->in[i]->rank == 1 && (s->in[i]->dims[0] == 1 || s->in[i]->dims[0] < 0))
		return PAI_OK;
	return pai_fail(s->ctx, PAI_E_shape_rank, pai_at_input(s->node, i),
			"is %s, needs to be a scalar", pai_type_text(s->ctx, s->arena, s->in[i]));
}

pai_status pai_shape_dropout(pai_shape_ctx *s)
{
	PAI_TRY(check_scalar(s, 1));
	PAI_TRY(check_scalar(s, 2));
	pai_shape_copy(s, 0, 0);
	if (s->n_out > 1)
		pai_shape_copy(s, 1, 0);
	return PAI_OK;
}
