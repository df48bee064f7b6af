/* depth_to_space.c -- DepthToSpace and SpaceToDepth: blocks of pixels against channels. Both are
 * one transposition of [N, C, H, W] taken as six axes. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/move.h"
#include <string.h>

static pai_status block_size(pai_call *c, int64_t *b)
{
	*b = pai_node_int(c->node, "blocksize", 0);
	if (c->in[0]->rank != 4 || *b < 1 || *b > INT32_MAX)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"needs a tensor of rank 4 and a block size of at least 1");
	return PAI_OK;
}

static pai_status too_large(pai_call *c)
{
	return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "blocksize"),
			"makes a size of the result overflow");
}

/* Copies x, seen as `six` axes, with its axes in the order `perm`. */
static pai_status transposed(pai_call *c, const int64_t *six, const int *perm)
{
	int64_t strides[6];
	pai_box b = {.rank = 6};
	pai_strides(6, six, strides);
	for (int i = 0; i < 6; i++) {
		b.dims[i] = six[perm[i]];
		b.from[i] = strides[perm[i]];
	}
	pai_strides(6, b.dims, b.to);
	return pai_box_call(c, &b, 0);
}

/* DCR: channels are [block, block, depth]; CRD: [depth, block, block] */
static pai_status depth_to_space(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	int64_t b;
	PAI_TRY(block_size(c, &b));
	int64_t n = x->dims[0], depth = x->dims[1] / (b * b), h = x->dims[2], w = x->dims[3];
	bool columns_first = strcmp(pai_node_string(c->node, "mode", "DCR"), "CRD") == 0;
	if (x->dims[1] % (b * b))
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 0),
				"has %lld channels, no multiple of %lld", (long long)x->dims[1],
				(long long)(b * b));
	int64_t dims[4] = {n, depth};
	if (__builtin_mul_overflow(h, b, &dims[2]) || __builtin_mul_overflow(w, b, &dims[3]))
		return too_large(c);
	PAI_TRY(pai_call_output(c, 0, x->dtype, 4, dims));
	if (columns_first)
		return transposed(c, (int64_t[]){n, depth, b, b, h, w}, (int[]){0, 1, 4, 2, 5, 3});
	return transposed(c, (int64_t[]){n, b, b, depth, h, w}, (int[]){0, 3, 4, 1, 5, 2});
}

const pai_kernel pai_kernel_depth_to_space = {.run = depth_to_space};

static pai_status space_to_depth(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	int64_t b;
	PAI_TRY(block_size(c, &b));
	int64_t n = x->dims[0], depth = x->dims[1], h = x->dims[2] / b, w = x->dims[3] / b;
	if (x->dims[2] % b || x->dims[3] % b)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 0),
				"has a size that is no multiple of %lld", (long long)b);
	int64_t dims[4] = {n, 0, h, w};
	if (__builtin_mul_overflow(depth, b * b, &dims[1]))
		return too_large(c);
	PAI_TRY(pai_call_output(c, 0, x->dtype, 4, dims));
	return transposed(c, (int64_t[]){n, depth, h, b, w, b}, (int[]){0, 3, 5, 1, 2, 4});
}

const pai_kernel pai_kernel_space_to_depth = {.run = space_to_depth};

/* The inverse move. That of mode CRD is no SpaceToDepth: six axes, transposed back. */
pai_status pai_grad_depth_to_space(pai_grad *g, const pai_node *n, pai_value *const *dy,
				   pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	int64_t b = pai_node_int(n, "blocksize", 1);
	const pai_type *x = &n->in[0]->type;
	if (strcmp(pai_node_string(n, "mode", "DCR"), "CRD") != 0) {
		dx[0] = PAI_OP1(p, "SpaceToDepth", "grad", dy[0]);
		pai_patch_set_int(p, dx[0]->producer, "blocksize", b);
		return PAI_OK;
	}
	if (x->rank != 4 || x->dims[1] < 0 || x->dims[2] < 0 || x->dims[3] < 0 || b < 1)
		return pai_fail(n->graph->model->ctx, PAI_E_no_gradient, pai_at_node(n),
				"the sizes of its input are not known");
	int64_t six[6] = {0, x->dims[1] / (b * b), x->dims[2], b, x->dims[3], b};
	pai_value *v = PAI_OP2(p, "Reshape", "blocks", dy[0], pai_grad_ints(g, n, 6, six));
	v = PAI_OP1(p, "Transpose", "blocks", v);
	pai_patch_set_ints(p, v->producer, "perm", 6, (int64_t[]){0, 1, 3, 5, 2, 4});
	dx[0] = PAI_OP2(p, "Reshape", "grad", v, pai_grad_shape(g, n, n->in[0]));
	return PAI_OK;
}

pai_status pai_grad_space_to_depth(pai_grad *g, const pai_node *n, pai_value *const *dy,
				   pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	dx[0] = PAI_OP1(p, "DepthToSpace", "grad", dy[0]);
	pai_patch_set_int(p, dx[0]->producer, "blocksize", pai_node_int(n, "blocksize", 1));
	return PAI_OK;
}
