/* grad.c -- helpers of gradient rules: shapes as operands, and the adjoint of broadcasting. */
#include "runtime/kernels/grad.h"

static bool known_shape(const pai_value *v)
{
	bool known = v->type.rank >= 0;
	for (int i = 0; i < v->type.rank; i++)
		known = known && v->type.dims[i] >= 0;
	return known;
}

static bool equal_shape(const pai_value *a, const pai_value *b)
{
	bool equal = a->type.rank >= 0 && a->type.rank == b->type.rank;
	for (int i = 0; equal && i < a->type.rank; i++)
		equal = pai_dim_equal(a->type.dims[i], b->type.dims[i]);
	return equal;
}

pai_value *pai_grad_ints(pai_grad *g, const pai_node *n, int count, const int64_t *v)
{
	return pai_patch_init(pai_grad_patch(g), "ints",
			      pai_tensor_from_ints(n->graph->model->arena, count, v));
}

pai_value *pai_grad_scalar(pai_grad *g, const pai_node *n, pai_dtype dtype, double v)
{
	pai_arena *a = n->graph->model->arena;
	pai_tensor *t = PAI_NEW(a, pai_tensor);
	t->dtype = dtype;
	t->nbytes = (size_t)pai_dtype_get(dtype)->bits / 8;
	t->data = pai_arena_alloc(a, t->nbytes);
	t->dims = PAI_NEWS(a, int64_t, 1);
	pai_tensor_set(t, 0, v);
	return pai_patch_init(pai_grad_patch(g), "scalar", t);
}

pai_value *pai_grad_shape(pai_grad *g, const pai_node *n, pai_value *v)
{
	if (known_shape(v))
		return pai_grad_ints(g, n, v->type.rank, v->type.dims);
	return PAI_OP1(pai_grad_patch(g), "Shape", "shape", v);
}

pai_value *pai_grad_zeros(pai_grad *g, const pai_node *n, pai_value *like)
{
	pai_arena *a = n->graph->model->arena;
	pai_tensor *zero = PAI_NEW(a, pai_tensor);
	zero->dtype = like->type.dtype ? like->type.dtype : PAI_FLOAT;
	zero->rank = 1;
	zero->dims = PAI_NEWS(a, int64_t, 1);
	zero->dims[0] = 1;
	zero->nbytes = (size_t)pai_dtype_get(zero->dtype)->bits / 8;
	zero->data = pai_arena_alloc(a, zero->nbytes);
	pai_patch *p = pai_grad_patch(g);
	pai_value *v = PAI_OP1(p, "ConstantOfShape", "zeros", pai_grad_shape(g, n, like));
	pai_patch_set_tensor(p, v->producer, "value", zero);
	return v;
}

pai_value *pai_grad_internal(pai_grad *g, const char *op_type, int n_in, pai_value *const *in,
			     const pai_node *attrs_from)
{
	pai_patch *p = pai_grad_patch(g);
	pai_node *made = pai_patch_node(p, PAI_DOMAIN_INTERNAL, op_type, "grad", n_in, in, 1);
	if (attrs_from)
		pai_patch_copy_attrs(p, made, attrs_from);
	return made->out[0];
}

pai_value *pai_grad_sum_to(pai_grad *g, const pai_node *n, pai_value *dy, const pai_value *whole,
			   pai_value *like)
{
	if (whole && equal_shape(whole, like))
		return dy;
	return pai_grad_internal(g, "SumTo", 2, (pai_value *[]){dy, pai_grad_shape(g, n, like)},
				 NULL);
}

pai_status pai_grad_rank(pai_grad *g, const pai_node *n, const pai_value *v, int *out)
{
	(void)g;
	if (v->type.rank < 0)
		return pai_fail(n->graph->model->ctx, PAI_E_no_gradient, pai_at_node(n),
				"the rank of \"%s\" is not known", v->name);
	*out = v->type.rank;
	return PAI_OK;
}

pai_status pai_grad_first_only(const pai_node *n, pai_value *const *dy)
{
	for (int o = 1; o < n->n_out; o++)
		if (dy[o])
			return pai_fail(n->graph->model->ctx, PAI_E_no_gradient,
					pai_at_output(n, o),
					"no gradient flows through the statistics");
	return PAI_OK;
}
