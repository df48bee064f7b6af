/* constant.c -- Constant and ConstantOfShape. */
#include "runtime/kernels/move.h"
#include <string.h>

/* The attribute that says what a Constant is; exactly one is given. */
static pai_status constant(pai_call *c)
{
	const pai_attr *a = c->node->n_attrs > 0 ? &c->node->attrs[0] : NULL;
	if (!a || c->node->n_attrs != 1)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"has %d attributes, expected one value", c->node->n_attrs);
	bool list = a->type == PAI_ATTR_INTS || a->type == PAI_ATTR_FLOATS ||
		    a->type == PAI_ATTR_STRINGS;
	int rank = list ? 1 : 0;
	const int64_t *dims = &a->list.n;
	pai_dtype dtype = PAI_UNDEFINED;
	const void *from = NULL;
	switch ((int)a->type) {
	case PAI_ATTR_TENSOR:
		dtype = a->t->dtype;
		rank = a->t->rank;
		dims = a->t->dims;
		from = a->t->data;
		break;
	case PAI_ATTR_INT:
	case PAI_ATTR_INTS:
		dtype = PAI_INT64;
		from = list ? a->list.i : &a->i;
		break;
	case PAI_ATTR_FLOAT:
	case PAI_ATTR_FLOATS:
		dtype = PAI_FLOAT;
		from = list ? a->list.f : &a->f;
		break;
	case PAI_ATTR_STRING:
	case PAI_ATTR_STRINGS:
		dtype = PAI_STRING;
		from = list ? a->list.s : &a->s;
		break;
	default:
		return pai_fail(c->ctx, PAI_E_no_kernel, pai_at_attr(c->node, a->name),
				"holds a sparse tensor, which cannot be executed");
	}
	PAI_TRY(pai_call_output(c, 0, dtype, rank, dims));
	pai_copy(c->out[0]->data, from, c->out[0]->nbytes);
	return PAI_OK;
}

const pai_kernel pai_kernel_constant = {.run = constant};

static pai_status constant_of_shape(pai_call *c)
{
	pai_int_list shape;
	PAI_TRY(pai_call_ints(c, "shape", 0, &shape));
	if (shape.n > PAI_MAX_RANK)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"has %d elements, a shape has at most %d", shape.n, PAI_MAX_RANK);
	for (int i = 0; i < shape.n; i++)
		if (shape.at[i] < 0)
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
					"element %d is %lld", i, (long long)shape.at[i]);
	const pai_attr *a = pai_node_attr(c->node, "value");
	const pai_tensor *value = a ? a->t : NULL;
	if (value && pai_tensor_nelem(value) != 1)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "value"),
				"has %lld elements, expected one",
				(long long)pai_tensor_nelem(value));
	pai_dtype dtype = value ? value->dtype : PAI_FLOAT;
	PAI_TRY(pai_call_output(c, 0, dtype, shape.n, shape.at));
	pai_flat to;
	PAI_TRY(pai_flat_out(c, 0, &to));
	uint8_t element[16] = {0};
	if (value && dtype != PAI_STRING)
		memcpy(element, value->data, to.size);
	int bits = pai_dtype_get(dtype)->bits;
	if (bits && bits < 8) /* the one element of a packed byte */
		element[0] &= (uint8_t)((1 << bits) - 1);
	pai_fill(to.at, pai_tensor_nelem(c->out[0]), element, to.size);
	pai_flat_done(c, 0, &to);
	return PAI_OK;
}

const pai_kernel pai_kernel_constant_of_shape = {.run = constant_of_shape};
