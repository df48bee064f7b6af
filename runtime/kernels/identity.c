/* identity.c -- Identity of a tensor of any type. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/lanes.h"

static pai_status identity(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	size_t n;
	if (!pai_tensor_nbytes(x->dtype, x->rank, x->dims, &n))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0), "is too large");
	if (c->out[0]->data != x->data)
		pai_copy(c->out[0]->data, x->data, n);
	return PAI_OK;
}
const pai_kernel pai_kernel_identity = {.run = identity};

pai_status pai_grad_identity(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n;
	dx[0] = dy[0];
	return PAI_OK;
}
