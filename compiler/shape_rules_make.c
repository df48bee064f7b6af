/* shape_rules_make.c -- rules of operators that make tensors from attributes, sizes or contents,
 * and of those that reduce axes.
 */
#include "compiler/compiler.h"
#include <math.h>
#include <string.h>

enum { SMALL = 128 }; /* most elements of contents that are followed */

static void set_type(pai_shape_ctx *s, int o, pai_dtype dtype)
{
	s->out[o].kind = PAI_TYPE_TENSOR;
	s->out[o].dtype = dtype;
}

static int64_t clamp_axis(int64_t axis, int rank)
{
	axis += axis < 0 ? rank : 0;
	return axis < 0 ? 0 : axis > rank ? rank : axis;
}

pai_status pai_shape_shape(pai_shape_ctx *s)
{
	if (!pai_shape_known(s, 0)) {
		const pai_dim unknown = PAI_DIM_UNKNOWN;
		pai_shape_set(s, 0, 1, &unknown);
		return PAI_OK;
	}
	const int rank = s->in[0]->rank;
	const int64_t from = clamp_axis(pai_node_int(s->node, "start", 0), rank);
	const int64_t to = clamp_axis(pai_node_int(s->node, "end", rank), rank);
	const pai_dim n = to > from ? to - from : 0;
	pai_shape_set(s, 0, 1, &n);
	s->out_dims[0] = s->in[0]->dims + from;
	s->n_out_dims[0] = (int)n;
	return PAI_OK;
}

pai_status pai_shape_size(pai_shape_ctx *s)
{
	pai_shape_set(s, 0, 0, NULL);
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	pai_dim *n = PAI_NEW(s->arena, pai_dim);
	*n = 1;
	for (int i = 0; i < s->in[0]->rank; i++)
		*n = pai_dim_mul(s->ctx, *n, s->in[0]->dims[i]);
	s->out_dims[0] = n;
	s->n_out_dims[0] = 1;
	return PAI_OK;
}

static void int_contents(pai_shape_ctx *s, int64_t n, const int64_t *v)
{
	if (n > SMALL)
		return;
	pai_dim *dims = PAI_NEWS(s->arena, pai_dim, n + 1);
	for (int64_t i = 0; i < n; i++)
		dims[i] = pai_dim_int(s->ctx, v[i]);
	s->out_dims[0] = dims;
	s->n_out_dims[0] = (int)n;
}

pai_status pai_shape_constant(pai_shape_ctx *s)
{
	static const struct {
		const char *name;
		pai_dtype dtype;
		bool list;
	} forms[] = {
		{"value_float", PAI_FLOAT, false},   {"value_floats", PAI_FLOAT, true},
		{"value_int", PAI_INT64, false},     {"value_ints", PAI_INT64, true},
		{"value_string", PAI_STRING, false}, {"value_strings", PAI_STRING, true},
	};
	const pai_attr *a = pai_node_attr(s->node, "value");
	if (!a)
		a = pai_node_attr(s->node, "sparse_value");
	if (a && a->type == PAI_ATTR_TENSOR && !a->ref) {
		set_type(s, 0, a->t->dtype);
		pai_shape_set(s, 0, a->t->rank, a->t->dims);
		return PAI_OK;
	}
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		a = pai_node_attr(s->node, forms[i].name);
		if (!a || a->ref)
			continue;
		const pai_dim n = forms[i].list ? a->list.n : 0;
		set_type(s, 0, forms[i].dtype);
		pai_shape_set(s, 0, forms[i].list, &n);
		if (a->type == PAI_ATTR_INT)
			int_contents(s, 1, &a->i);
		if (a->type == PAI_ATTR_INTS)
			int_contents(s, a->list.n, a->list.i);
	}
	return PAI_OK;
}

/* Output 0 has the sizes that input i holds; *n is their number, -1 when they are not known. */
static pai_status sized_by(pai_shape_ctx *s, int i, int *n)
{
	const pai_dim *dims;
	int64_t v;
	*n = pai_shape_ints(s, i, &dims);
	if (*n > PAI_MAX_RANK)
		return pai_fail(s->ctx, PAI_E_shape_contents, pai_at_input(s->node, i),
				"has %d sizes, more than %d", *n, PAI_MAX_RANK);
	for (int k = 0; k < *n; k++)
		if (pai_dim_const(s->ctx, dims[k], &v) && v < 0)
			return pai_fail(s->ctx, PAI_E_shape_contents, pai_at_input(s->node, i),
					"size %d is %lld", k, (long long)v);
	if (*n >= 0) {
		pai_shape_set(s, 0, *n, dims);
		return PAI_OK;
	}
	pai_dim unknown[PAI_MAX_RANK];
	for (int k = 0; k < PAI_MAX_RANK; k++)
		unknown[k] = PAI_DIM_UNKNOWN;
	if (pai_shape_known(s, i) && s->in[i]->rank == 1 && s->in[i]->dims[0] >= 0 &&
	    s->in[i]->dims[0] <= PAI_MAX_RANK)
		pai_shape_set(s, 0, (int)s->in[i]->dims[0], unknown);
	return PAI_OK;
}

pai_status pai_shape_constant_of_shape(pai_shape_ctx *s)
{
	const pai_attr *a = pai_node_attr(s->node, "value");
	const pai_tensor *value = a && a->type == PAI_ATTR_TENSOR && !a->ref ? a->t : NULL;
	int n;
	if (!a || value)
		set_type(s, 0, value ? value->dtype : PAI_FLOAT);
	PAI_TRY(sized_by(s, 0, &n));
	if (value && pai_tensor_nelem(value) != 1)
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "value"),
				"needs one element, has %lld", (long long)pai_tensor_nelem(value));
	const pai_dtype_kind kind = pai_dtype_get((int)s->out[0].dtype)->kind;
	const int64_t count = n == 0 ? 1 : n == 1 ? s->out[0].dims[0] : -1;
	if (!value || count < 0 || count > SMALL || !value->data ||
	    (kind != PAI_KIND_SIGNED && kind != PAI_KIND_UNSIGNED && kind != PAI_KIND_BOOL))
		return PAI_OK;
	int64_t all[SMALL];
	for (int64_t i = 0; i < count; i++)
		all[i] = pai_tensor_get_int(value, 0);
	int_contents(s, count, all);
	return PAI_OK;
}

/* RandomNormal, RandomUniform: attributes shape and dtype. */
pai_status pai_shape_random(pai_shape_ctx *s)
{
	const int64_t *shape, dtype = pai_node_int(s->node, "dtype", PAI_FLOAT);
	int n = pai_node_ints(s->node, "shape", &shape);
	if (dtype <= 0 || dtype >= PAI_DTYPE_COUNT)
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "dtype"),
				"%lld is no element type", (long long)dtype);
	set_type(s, 0, (pai_dtype)dtype);
	if (n < 0 || n > PAI_MAX_RANK)
		return PAI_OK;
	for (int i = 0; i < n; i++)
		if (shape[i] < 0)
			return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "shape"),
					"value %d is %lld", i, (long long)shape[i]);
	pai_shape_set(s, 0, n, shape);
	return PAI_OK;
}

/* A scalar input as a number; false: not known. */
static bool scalar(const pai_shape_ctx *s, int i, double *out)
{
	const pai_tensor *t = i < s->n_in ? s->data[i] : NULL;
	if (!t || !t->data || pai_tensor_nelem(t) != 1 || t->dtype == PAI_STRING)
		return false;
	*out = pai_tensor_get(t, 0);
	return true;
}

/* Integers: ceil((limit - start) / delta), at least 0. */
static pai_dim range_count(pai_shape_ctx *s, pai_dim start, pai_dim limit, int64_t delta)
{
	pai_dim span =
		delta > 0 ? pai_dim_sub(s->ctx, limit, start) : pai_dim_sub(s->ctx, start, limit);
	const int64_t step = delta > 0 ? delta : -delta;
	int64_t c;
	if (pai_dim_const(s->ctx, span, &c))
		return c <= 0 ? 0 : (c - 1) / step + 1;
	if (!pai_dim_at_least(s->ctx, span, 0))
		return PAI_DIM_UNKNOWN;
	return pai_dim_div(s->ctx, pai_dim_add(s->ctx, span, step - 1), step);
}

pai_status pai_shape_range(pai_shape_ctx *s)
{
	const pai_dim *start, *limit, *delta;
	pai_dim n = PAI_DIM_UNKNOWN;
	double from, to, by;
	int64_t first, step;
	if (pai_shape_ints(s, 0, &start) == 1 && pai_shape_ints(s, 1, &limit) == 1 &&
	    pai_shape_ints(s, 2, &delta) == 1 && pai_dim_const(s->ctx, *delta, &step)) {
		if (step == 0)
			return pai_fail(s->ctx, PAI_E_shape_contents, pai_at_input(s->node, 2),
					"is 0");
		n = range_count(s, *start, *limit, step);
		if (n >= 0 && n <= SMALL && pai_dim_const(s->ctx, *start, &first)) {
			int64_t all[SMALL];
			for (int64_t i = 0; i < n; i++)
				all[i] = first + i * step;
			int_contents(s, n, all);
		}
	} else if (scalar(s, 0, &from) && scalar(s, 1, &to) && scalar(s, 2, &by)) {
		double count = ceil((to - from) / by);
		if (by == 0 || !(count < 9e15))
			return pai_fail(s->ctx, PAI_E_shape_contents, pai_at_node(s->node),
					"has no last element");
		n = count > 0 ? (int64_t)count : 0;
	}
	pai_shape_set(s, 0, 1, &n);
	return PAI_OK;
}

/* The result of ReduceProd or ReduceSum over a whole list of known elements. */
static void reduce_contents(pai_shape_ctx *s)
{
	const bool times = pai_node_is(s->node, "ReduceProd");
	const pai_dim *dims;
	if (s->in[0]->rank != 1 || (!times && !pai_node_is(s->node, "ReduceSum")))
		return;
	if (s->in[0]->dims[0] < 0 || s->in[0]->dims[0] > SMALL)
		return;
	int n = pai_shape_ints(s, 0, &dims);
	if (n < 0)
		return;
	pai_dim *all = PAI_NEW(s->arena, pai_dim);
	*all = times;
	for (int i = 0; i < n; i++)
		*all = times ? pai_dim_mul(s->ctx, *all, dims[i])
			     : pai_dim_add(s->ctx, *all, dims[i]);
	s->out_dims[0] = all;
	s->n_out_dims[0] = 1;
}

/* Sizes of x with the axes of `reduced` (bits) dropped, or made 1 with keepdims. */
static void set_reduced(pai_shape_ctx *s, const pai_type *x, uint64_t reduced, bool keepdims)
{
	pai_dim out[PAI_MAX_RANK];
	int rank = 0;
	for (int i = 0; i < x->rank; i++) {
		if (!(reduced >> i & 1))
			out[rank++] = x->dims[i];
		else if (keepdims)
			out[rank++] = 1;
	}
	pai_shape_set(s, 0, rank, out);
}

static void set_unknown(pai_shape_ctx *s, int rank)
{
	pai_dim out[PAI_MAX_RANK];
	for (int i = 0; i < rank; i++)
		out[i] = PAI_DIM_UNKNOWN;
	if (rank >= 0)
		pai_shape_set(s, 0, rank, out);
}

pai_status pai_shape_reduce(pai_shape_ctx *s)
{
	const bool keepdims = pai_node_int(s->node, "keepdims", 1) != 0;
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_type *x = s->in[0];
	int64_t *axes;
	uint64_t reduced = 0;
	int n = pai_shape_axes(s, "axes", 1, x->rank, &axes);
	if (n == -2)
		return PAI_INVALID;
	if (n == -1) {
		const pai_dim count = pai_shape_known(s, 1) && s->in[1]->rank == 1
					      ? s->in[1]->dims[0]
					      : PAI_DIM_UNKNOWN;
		set_unknown(s, keepdims                        ? x->rank
			       : count > 0 && count <= x->rank ? x->rank - (int)count
							       : -1);
		return PAI_OK;
	}
	for (int k = 0; k < n; k++)
		reduced |= (uint64_t)1 << axes[k];
	if (n == 0 && !pai_node_int(s->node, "noop_with_empty_axes", 0))
		reduced = ~(uint64_t)0;
	set_reduced(s, x, reduced, keepdims);
	if (reduced)
		reduce_contents(s);
	return PAI_OK;
}

pai_status pai_shape_arg_reduce(pai_shape_ctx *s)
{
	int64_t axis;
	set_type(s, 0, PAI_INT64);
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	PAI_TRY(pai_shape_axis(s, pai_node_int(s->node, "axis", 0), s->in[0]->rank, &axis));
	set_reduced(s, s->in[0], (uint64_t)1 << axis, pai_node_int(s->node, "keepdims", 1) != 0);
	return PAI_OK;
}

static pai_status check_labels(pai_shape_ctx *s)
{
	const pai_type *x = s->in[0], *t = s->in[1];
	bool fit = x->rank >= 2 && t->rank == x->rank - 1;
	for (int i = 0; fit && i < t->rank; i++) {
		pai_dim a = x->dims[i ? i + 1 : 0], b = t->dims[i];
		fit = a < 0 || b < 0 || a == b;
	}
	if (fit)
		return PAI_OK;
	return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, 1),
			"is %s, does not fit scores of %s", pai_type_text(s->ctx, s->arena, t),
			pai_type_text(s->ctx, s->arena, x));
}

/* Scores [N, C, d..], labels [N, d..]: a scalar, or the labels' shape without reduction; logarithms
 * of probabilities as the scores. Also for NegativeLogLikelihoodLoss. */
pai_status pai_shape_softmax_cross_entropy_loss(pai_shape_ctx *s)
{
	const pai_attr *a = pai_node_attr(s->node, "reduction");
	const char *reduction = a && a->type == PAI_ATTR_STRING && !a->ref ? a->s.at : "mean";
	if (pai_shape_known(s, 0) && pai_shape_known(s, 1))
		PAI_TRY(check_labels(s));
	if (pai_shape_known(s, 2) && s->in[2]->rank != 1)
		return pai_fail(s->ctx, PAI_E_shape_rank, pai_at_input(s->node, 2),
				"has rank %d, needs 1", s->in[2]->rank);
	if (strcmp(reduction, "none") == 0)
		pai_shape_copy(s, 0, 1);
	else if (strcmp(reduction, "mean") == 0 || strcmp(reduction, "sum") == 0)
		pai_shape_set(s, 0, 0, NULL);
	else
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "reduction"),
				"is \"%s\", must be none, mean or sum",
				pai_escape(s->arena, reduction));
	if (s->n_out > 1)
		pai_shape_copy(s, 1, 0);
	return PAI_OK;
}
