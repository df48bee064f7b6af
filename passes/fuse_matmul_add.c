/* fuse_matmul_add.c -- MatMul of two matrices and an Add of a row vector become one Gemm. */
#include "passes/passes.h"
#include <string.h>

enum { FUSED, SHARED, NOT_A_MATRIX };

static int rank_of(const pai_value *v)
{
	return v && v->type.kind == PAI_TYPE_TENSOR ? v->type.rank : -1;
}

/* [N] or [1, N] with N the columns of the product: Gemm's C broadcasts to [M, N] the same way. */
static bool is_row(const pai_value *v, const pai_value *product)
{
	const pai_type *t = &v->type, *p = &product->type;
	if (rank_of(v) < 1 || rank_of(v) > 2 || rank_of(product) != 2)
		return false;
	if (t->rank == 2 && t->dims[0] != 1)
		return false;
	return t->dims[t->rank - 1] == 1 || pai_dim_equal(t->dims[t->rank - 1], p->dims[1]);
}

static bool is_float(const pai_value *v)
{
	return pai_dtype_get(v->type.dtype)->kind == PAI_KIND_FLOAT;
}

static pai_status run(pai_pass_run *r, pai_patch *out, const pai_graph *g)
{
	for (int i = 0; i < g->nodes.n; i++) {
		pai_node *add = g->nodes.at[i];
		if (!pai_node_is(add, "Add") || !add->op || add->op->since < 7)
			continue;
		for (int k = 0; k < 2; k++) {
			pai_value *product = pai_node_in(add, k), *bias = pai_node_in(add, 1 - k);
			pai_node *mm = product ? product->producer : NULL;
			if (!mm || !bias || mm->graph != g || !pai_node_is(mm, "MatMul"))
				continue;
			if (rank_of(mm->in[0]) != 2 || rank_of(mm->in[1]) != 2 ||
			    !is_row(bias, product) || !is_float(product) ||
			    !pai_same_role(add, mm)) {
				r->counts[NOT_A_MATRIX] += r->round == 0;
				continue;
			}
			if (product->is_output || pai_uses_count(r->uses, product) != 1) {
				r->counts[SHARED] += r->round == 0;
				continue;
			}
			pai_patch_begin(out, add, "MatMul and Add");
			pai_value *y =
				PAI_OP3(out, "Gemm", add->out[0]->name, mm->in[0], mm->in[1], bias);
			pai_patch_succeed(out, y->producer, mm);
			pai_patch_replace(out, add->out[0], y);
			pai_patch_erase(out, add);
			pai_patch_erase(out, mm);
			pai_patch_count(out, &r->counts[FUSED], 1);
			break;
		}
	}
	return PAI_OK;
}

const pai_pass pai_pass_fuse_matmul_add = {
	.name = "fuse-matmul-add",
	.summary = "make one Gemm of a MatMul and the Add of its bias",
	.needs = PAI_SHAPES | PAI_USES,
	.exactness = PAI_ROUNDING,
	.stats = (const char *const[]){[FUSED] = "fused",
				       [SHARED] = "kept: the product is read elsewhere",
				       [NOT_A_MATRIX] =
					       "kept: not two matrices and a row of one role",
				       NULL},
	.run = run,
};
