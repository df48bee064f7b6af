/* trilu.c -- Trilu and EyeLike: what stands on, above or below a diagonal of a matrix. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/move.h"
#include <string.h>

static pai_status trilu(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	int64_t k = 0;
	bool upper = pai_node_int(c->node, "upper", 1);
	if (c->n_in > 1 && c->in[1]) {
		if (pai_tensor_nelem(c->in[1]) != 1)
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 1),
					"is not one integer");
		k = pai_tensor_get_int(c->in[1], 0);
	}
	if (x->rank < 2)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"has rank %d, expected at least 2", x->rank);
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	pai_flat from, to;
	PAI_TRY(pai_flat_in(c, 0, &from));
	PAI_TRY(pai_flat_out(c, 0, &to));
	int64_t rows = x->dims[x->rank - 2], columns = x->dims[x->rank - 1];
	for (int64_t i = 0, n = pai_tensor_nelem(x); i < n; i++) {
		int64_t column = i % columns, row = i / columns % rows;
		bool kept = upper ? column - row >= k : column - row <= k;
		uint8_t *at = to.at + (size_t)i * to.size;
		if (kept)
			memcpy(at, from.at + (size_t)i * to.size, to.size);
		else
			memset(at, 0, to.size);
	}
	pai_flat_done(c, 0, &to);
	return PAI_OK;
}

const pai_kernel pai_kernel_trilu = {.run = trilu};

/* The same triangle of dY. */
pai_status pai_grad_trilu(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	pai_value *in[2] = {dy[0], pai_node_in(n, 1)};
	dx[0] = pai_patch_op(p, "Trilu", "grad", in[1] ? 2 : 1, in);
	pai_patch_set_int(p, dx[0]->producer, "upper", pai_node_int(n, "upper", 1));
	return PAI_OK;
}

static pai_status eye_like(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	int64_t k = pai_node_int(c->node, "k", 0), to = pai_node_int(c->node, "dtype", x->dtype);
	pai_dtype_kind kind = pai_dtype_get((int)to)->kind;
	if (x->rank != 2 || kind == PAI_KIND_NONE || kind == PAI_KIND_STRING ||
	    kind == PAI_KIND_COMPLEX)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"needs a matrix and a type of numbers");
	PAI_TRY(pai_call_output(c, 0, (pai_dtype)to, 2, x->dims));
	for (int64_t i = 0, n = pai_tensor_nelem(x); i < n; i++)
		pai_tensor_set(c->out[0], i, i % x->dims[1] - i / x->dims[1] == k);
	return PAI_OK;
}

const pai_kernel pai_kernel_eye_like = {.run = eye_like};
