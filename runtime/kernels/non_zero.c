/* non_zero.c -- NonZero and Compress: results whose size depends on contents. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/move.h"
#include <string.h>

static bool is_set(const pai_tensor *t, int64_t i)
{
	if (t->dtype == PAI_STRING)
		return ((const pai_str *)t->data)[i].n > 0;
	return pai_tensor_get(t, i) != 0;
}

/* [rank, count]: the indices of each element that is not zero, in row-major order */
static pai_status non_zero(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	int64_t n = pai_tensor_nelem(x), count = 0;
	for (int64_t i = 0; i < n; i++)
		count += is_set(x, i);
	PAI_TRY(pai_call_output(c, 0, PAI_INT64, 2, (int64_t[]){x->rank, count}));
	int64_t *y = c->out[0]->data;
	for (int64_t i = 0, at = 0; i < n; i++) {
		if (!is_set(x, i))
			continue;
		int64_t rest = i;
		for (int k = x->rank - 1; k >= 0; k--) {
			y[k * count + at] = rest % x->dims[k];
			rest /= x->dims[k];
		}
		at++;
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_non_zero = {.run = non_zero};

/* The slices along an axis whose condition holds; without an axis the elements of the flat tensor.
 */
static pai_status compress(pai_call *c)
{
	const pai_tensor *x = c->in[0], *condition = c->in[1];
	bool flat = !pai_node_attr(c->node, "axis");
	int axis = 0;
	int64_t dims[PAI_MAX_RANK], inner = 1, outer = 1, size = pai_tensor_nelem(x), kept = 0;
	if (!flat) {
		PAI_TRY(pai_call_axis(c, pai_node_int(c->node, "axis", 0), x->rank, &axis));
		size = x->dims[axis];
		for (int i = 0; i < x->rank; i++) {
			dims[i] = x->dims[i];
			outer *= i < axis ? x->dims[i] : 1;
			inner *= i > axis ? x->dims[i] : 1;
		}
	}
	int64_t n = pai_tensor_nelem(condition);
	if (condition->dtype != PAI_BOOL || n > size)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 1),
				"is not at most %lld booleans", (long long)size);
	const uint8_t *keep = condition->data;
	for (int64_t i = 0; i < n; i++)
		kept += keep[i] != 0;
	dims[axis] = kept;
	PAI_TRY(pai_call_output(c, 0, x->dtype, flat ? 1 : x->rank, dims));
	pai_flat from, to;
	PAI_TRY(pai_flat_in(c, 0, &from));
	PAI_TRY(pai_flat_out(c, 0, &to));
	size_t line = (size_t)inner * from.size;
	uint8_t *y = to.at;
	for (int64_t o = 0; o < outer; o++)
		for (int64_t i = 0; i < n; i++)
			if (keep[i]) {
				pai_copy(y, from.at + (size_t)(o * size + i) * line, line);
				y += line;
			}
	pai_flat_done(c, 0, &to);
	return PAI_OK;
}

const pai_kernel pai_kernel_compress = {.run = compress};

/* dX = 0 with dY where the slices were: those of the indices of the condition. */
pai_status pai_grad_compress(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	bool flat = !pai_node_attr(n, "axis");
	pai_value *at = PAI_OP1(p, "NonZero", "kept", n->in[1]);
	at = PAI_OP2(p, "Reshape", "kept", at, pai_grad_ints(g, n, 1, (int64_t[]){-1}));
	pai_value *shape = pai_grad_shape(g, n, n->in[0]);
	pai_value *size = shape;
	if (flat)
		size = PAI_OP2(p, "Reshape", "size", PAI_OP1(p, "Size", "size", n->in[0]),
			       pai_grad_ints(g, n, 1, (int64_t[]){1}));
	dx[0] = pai_grad_internal(g, "GatherGrad", 3, (pai_value *[]){dy[0], at, size}, NULL);
	pai_patch_set_int(p, dx[0]->producer, "axis", pai_node_int(n, "axis", 0));
	if (flat)
		dx[0] = PAI_OP2(p, "Reshape", "grad", dx[0], shape);
	return PAI_OK;
}
