/* transpose.c -- Transpose: a copy whose source strides are permuted. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/move.h"

static pai_status permutation(pai_call *c, int rank, pai_int_list *perm)
{
	PAI_TRY(pai_call_ints(c, "perm", -1, perm));
	if (perm->n < 0) { /* the default reverses */
		for (int i = 0; i < rank; i++)
			perm->at[i] = rank - 1 - i;
		return PAI_OK;
	}
	uint64_t seen = 0;
	for (int i = 0; i < perm->n; i++)
		if (perm->at[i] >= 0 && perm->at[i] < rank)
			seen |= (uint64_t)1 << perm->at[i];
	if (perm->n != rank || (rank && seen != UINT64_MAX >> (64 - rank)))
		return pai_fail(c->ctx, PAI_E_bad_axis, pai_at_attr(c->node, "perm"),
				"is not a permutation of the %d axes", rank);
	return PAI_OK;
}

static pai_status transpose(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	pai_int_list perm;
	PAI_TRY(permutation(c, x->rank, &perm));
	pai_box b = {.rank = x->rank};
	int64_t strides[PAI_MAX_RANK];
	pai_strides(x->rank, x->dims, strides);
	for (int i = 0; i < x->rank; i++) {
		b.dims[i] = x->dims[perm.at[i]];
		b.from[i] = strides[perm.at[i]];
	}
	pai_strides(b.rank, b.dims, b.to);
	PAI_TRY(pai_call_output(c, 0, x->dtype, b.rank, b.dims));
	return pai_box_call(c, &b, 0);
}

const pai_kernel pai_kernel_transpose = {.run = transpose};

/* dX = dY with the inverse permutation; the default permutation is its own inverse. */
pai_status pai_grad_transpose(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	const int64_t *perm;
	int64_t inverse[PAI_MAX_RANK];
	int rank = pai_node_ints(n, "perm", &perm);
	dx[0] = PAI_OP1(p, "Transpose", "grad", dy[0]);
	for (int i = 0; i < rank; i++)
		if (perm[i] >= 0 && perm[i] < PAI_MAX_RANK)
			inverse[perm[i]] = i;
	if (rank >= 0)
		pai_patch_set_ints(p, dx[0]->producer, "perm", rank, inverse);
	return PAI_OK;
}
