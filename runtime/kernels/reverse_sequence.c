/* reverse_sequence.c -- ReverseSequence: the first `length` steps of each sequence of a batch
 * turned round, the rest as it is. It is its own adjoint. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/move.h"

static pai_status reverse_sequence(pai_call *c)
{
	const pai_tensor *x = c->in[0], *lengths = c->in[1];
	int64_t batch = pai_node_int(c->node, "batch_axis", 1);
	int64_t time = pai_node_int(c->node, "time_axis", 0);
	if (x->rank < 2 || batch + time != 1 || (batch != 0 && batch != 1))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"needs batch_axis and time_axis to be the first two of the input");
	const int64_t n = x->dims[batch], steps = x->dims[time];
	if (lengths->dtype != PAI_INT64 || lengths->rank != 1 || lengths->dims[0] != n)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 1),
				"is not one int64 for each of the %lld sequences", (long long)n);
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	pai_flat from, to;
	size_t row = 1;
	PAI_TRY(pai_flat_in(c, 0, &from));
	PAI_TRY(pai_flat_out(c, 0, &to));
	for (int i = 2; i < x->rank; i++)
		row *= (size_t)x->dims[i];
	row *= from.size;
	for (int64_t b = 0; b < n; b++) {
		int64_t length = pai_tensor_get_int(lengths, b);
		if (length < 0 || length > steps)
			return pai_fail(c->ctx, PAI_E_bad_index, pai_at_input(c->node, 1),
					"element %lld is %lld; the sequence has %lld steps",
					(long long)b, (long long)length, (long long)steps);
		for (int64_t t = 0; t < steps && row > 0; t++) {
			int64_t s = t < length ? length - 1 - t : t;
			size_t at = (size_t)(batch ? t * n + b : b * steps + t) * row;
			size_t at_from = (size_t)(batch ? s * n + b : b * steps + s) * row;
			pai_copy(to.at + at, from.at + at_from, row);
		}
	}
	pai_flat_done(c, 0, &to);
	return PAI_OK;
}

const pai_kernel pai_kernel_reverse_sequence = {.run = reverse_sequence};

pai_status pai_grad_reverse_sequence(pai_grad *g, const pai_node *n, pai_value *const *dy,
				     pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	dx[0] = PAI_OP2(p, "ReverseSequence", "grad", dy[0], n->in[1]);
	pai_patch_copy_attrs(p, dx[0]->producer, n);
	return PAI_OK;
}
