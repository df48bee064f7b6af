/* cum_sum.c -- CumSum and CumProd: running sums and products along an axis. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/gemm.h"

/* One line of n elements, `step` apart; exclusive: each takes what was before it. */
#define CUMULATE(T)                                                                         \
	static void cumulate_##T(const T *x, T *y, int64_t n, int64_t step, bool exclusive, \
				 bool product)                                              \
	{                                                                                   \
		T so_far = product ? 1 : 0;                                                 \
		for (int64_t i = 0; i < n; i++, x += step, y += step) {                     \
			T next = product ? so_far * *x : so_far + *x;                       \
			*y = exclusive ? so_far : next;                                     \
			so_far = next;                                                      \
		}                                                                           \
	}

CUMULATE(float)
CUMULATE(double)
CUMULATE(uint32_t)
CUMULATE(uint64_t)

static void cumulate(pai_dtype dtype, const void *x, void *y, int64_t at, int64_t n, int64_t step,
		     bool exclusive, bool product)
{
	if (dtype == PAI_FLOAT)
		cumulate_float((const float *)x + at, (float *)y + at, n, step, exclusive, product);
	else if (dtype == PAI_DOUBLE)
		cumulate_double((const double *)x + at, (double *)y + at, n, step, exclusive,
				product);
	else if (pai_dtype_get(dtype)->bits == 32)
		cumulate_uint32_t((const uint32_t *)x + at, (uint32_t *)y + at, n, step, exclusive,
				  product);
	else
		cumulate_uint64_t((const uint64_t *)x + at, (uint64_t *)y + at, n, step, exclusive,
				  product);
}

static pai_status cum_sum(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	int axis;
	if (pai_tensor_nelem(c->in[1]) != 1)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 1),
				"is not one integer");
	PAI_TRY(pai_call_axis(c, pai_tensor_get_int(c->in[1], 0), x->rank, &axis));
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	bool exclusive = pai_node_int(c->node, "exclusive", 0);
	bool reverse = pai_node_int(c->node, "reverse", 0);
	bool product = c->kernel->data != NULL;
	const void *from = NULL;
	void *to = NULL;
	PAI_TRY(pai_widen(c, 0, &from));
	PAI_TRY(pai_wide_output(c, 0, &to));
	int64_t n = x->dims[axis], inner = 1, lines = n ? pai_tensor_nelem(x) / n : 0;
	for (int i = axis + 1; i < x->rank; i++)
		inner *= x->dims[i];
	for (int64_t i = 0; i < lines; i++) {
		int64_t at = i / inner * inner * n + i % inner;
		if (reverse)
			cumulate(pai_wide(x->dtype), from, to, at + (n - 1) * inner, n, -inner,
				 exclusive, product);
		else
			cumulate(pai_wide(x->dtype), from, to, at, n, inner, exclusive, product);
	}
	pai_narrow(c, 0, to);
	return PAI_OK;
}

const pai_kernel pai_kernel_cum_sum = {.run = cum_sum};
const pai_kernel pai_kernel_cum_prod = {.run = cum_sum, .data = "product"};

/* dX = running sum of dY the other way round */
pai_status pai_grad_cum_sum(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	dx[0] = PAI_OP2(p, "CumSum", "grad", dy[0], n->in[1]);
	pai_patch_set_int(p, dx[0]->producer, "exclusive", pai_node_int(n, "exclusive", 0));
	pai_patch_set_int(p, dx[0]->producer, "reverse", !pai_node_int(n, "reverse", 0));
	return PAI_OK;
}
