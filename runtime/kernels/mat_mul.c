/* mat_mul.c -- MatMul and Gemm. Both are loops around pai_gemm; transposes are strides. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/gemm.h"
#include <string.h>

/* The operands must agree in type: the product is computed in one. */
static pai_status same_type(pai_call *c)
{
	for (int i = 1; i < c->n_in; i++)
		if (c->in[i] && c->in[i]->dtype != c->in[0]->dtype)
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, i),
					"is %s, the first operand is %s",
					pai_dtype_get(c->in[i]->dtype)->text,
					pai_dtype_get(c->in[0]->dtype)->text);
	return PAI_OK;
}

typedef struct batch {              /* how the matrices of an N-D operand follow one another */
	int64_t dims[PAI_MAX_RANK]; /* of the result, without the matrix */
	int64_t a[PAI_MAX_RANK], b[PAI_MAX_RANK]; /* elements to the next matrix; 0: the same one */
	int64_t count;
	int rank;
} batch;

/* Strides over the leading `rank` dims of an operand, aligned at the end; false: does not fit. */
static bool batch_strides(batch *x, const pai_tensor *t, int lead, int64_t matrix, int64_t *stride)
{
	int64_t step = matrix;
	for (int i = x->rank - 1, j = lead - 1; i >= 0; i--, j--) {
		int64_t d = j >= 0 ? t->dims[j] : 1;
		stride[i] = d == 1 ? 0 : step;
		step *= d;
		if (d != 1 && d != x->dims[i])
			return false;
	}
	return true;
}

/* A product with its 1-D operands taken as a row and a column. */
typedef struct product {
	int64_t m, n, k;
	batch batch;
	int64_t out[PAI_MAX_RANK];
	int rank;
} product;

static pai_status product_shape(pai_call *c, product *p)
{
	const pai_tensor *a = c->in[0], *b = c->in[1];
	if (a->rank < 1 || b->rank < 1)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, a->rank < 1 ? 0 : 1),
				"is a scalar; a product needs at least one dimension");
	p->m = a->rank > 1 ? a->dims[a->rank - 2] : 1;
	p->k = a->dims[a->rank - 1];
	p->n = b->rank > 1 ? b->dims[b->rank - 1] : 1;
	int64_t kb = b->dims[b->rank > 1 ? b->rank - 2 : 0];
	int la = a->rank > 2 ? a->rank - 2 : 0, lb = b->rank > 2 ? b->rank - 2 : 0;
	batch *x = &p->batch;
	x->rank = la > lb ? la : lb;
	for (int i = 0; i < x->rank; i++) {
		int64_t da = i - x->rank + la >= 0 ? a->dims[i - x->rank + la] : 1;
		int64_t db = i - x->rank + lb >= 0 ? b->dims[i - x->rank + lb] : 1;
		x->dims[i] = da == 1 ? db : da;
		p->out[i] = x->dims[i];
	}
	if (kb != p->k || !batch_strides(x, a, la, p->m * p->k, x->a) ||
	    !batch_strides(x, b, lb, p->k * p->n, x->b))
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_node(c->node),
				"the sizes of the operands do not fit a product");
	p->rank = x->rank;
	if (a->rank > 1)
		p->out[p->rank++] = p->m;
	if (b->rank > 1)
		p->out[p->rank++] = p->n;
	return PAI_OK;
}

/* One matrix on the right for all on the left: the left ones are one tall matrix. */
static void merge_batch(product *p)
{
	batch *x = &p->batch;
	int64_t step = p->m * p->k;
	for (int i = x->rank - 1; i >= 0; i--) {
		if (x->b[i] != 0 || (x->a[i] != step && x->dims[i] != 1))
			return;
		step *= x->dims[i];
	}
	p->m *= x->count;
	x->count = x->count ? 1 : 0;
	x->rank = 0;
}

static pai_status mat_mul(pai_call *c)
{
	product p;
	PAI_TRY(same_type(c));
	PAI_TRY(product_shape(c, &p));
	pai_dtype dtype = pai_wide(c->in[0]->dtype);
	PAI_TRY(pai_call_output(c, 0, c->in[0]->dtype, p.rank, p.out));
	int64_t matrix = p.m * p.n;
	p.batch.count = matrix ? pai_tensor_nelem(c->out[0]) / matrix : 0;
	merge_batch(&p);
	const void *a, *b;
	void *y, *scratch;
	PAI_TRY(pai_widen(c, 0, &a));
	PAI_TRY(pai_widen(c, 1, &b));
	PAI_TRY(pai_wide_output(c, 0, &y));
	size_t need, size = pai_wide_size(dtype);
	if (!pai_gemm_scratch(dtype, p.m, p.k, &need))
		need = SIZE_MAX;
	PAI_TRY(pai_call_room(c, 1, need, &scratch));

	const batch *x = &p.batch;
	int64_t index[PAI_MAX_RANK] = {0}, at_a = 0, at_b = 0;
	for (int64_t i = 0; i < x->count; i++) {
		pai_gemm(dtype, p.m, p.n, p.k, (pai_matrix){(const char *)a + at_a * size, p.k, 1},
			 (pai_matrix){(const char *)b + at_b * size, p.n, 1},
			 (char *)y + i * p.m * p.n * size, p.n, false, scratch);
		for (int d = x->rank - 1; d >= 0; d--) {
			at_a += x->a[d];
			at_b += x->b[d];
			if (++index[d] < x->dims[d])
				break;
			at_a -= x->a[d] * x->dims[d];
			at_b -= x->b[d] * x->dims[d];
			index[d] = 0;
		}
	}
	pai_narrow(c, 0, y);
	return PAI_OK;
}

static double mat_mul_work(const pai_node *n, const pai_tensor *const *in,
			   const pai_tensor *const *out)
{
	(void)n;
	const pai_tensor *a = in[0];
	return pai_elements(out[0]) * (a && a->rank > 0 ? (double)a->dims[a->rank - 1] : 1);
}

const pai_kernel pai_kernel_mat_mul = {.run = mat_mul, .work = mat_mul_work};

/* The last two axes exchanged. */
static pai_value *transposed(pai_patch *p, pai_value *v, int rank)
{
	int64_t perm[PAI_MAX_RANK];
	for (int i = 0; i < rank; i++)
		perm[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
	pai_value *t = PAI_OP1(p, "Transpose", "transposed", v);
	pai_patch_set_ints(p, t->producer, "perm", rank, perm);
	return t;
}

static pai_value *with_axis(pai_grad *g, const pai_node *n, pai_value *v, int64_t axis)
{
	return PAI_OP2(pai_grad_patch(g), "Unsqueeze", "with_axis", v,
		       pai_grad_ints(g, n, 1, &axis));
}

/* op(a) op(b) with factor alpha, matrices */
static pai_value *product_of(pai_patch *p, float alpha, pai_value *a, bool trans_a, pai_value *b,
			     bool trans_b)
{
	pai_value *y = PAI_OP2(p, "Gemm", "grad", a, b);
	pai_patch_set_int(p, y->producer, "transA", trans_a);
	pai_patch_set_int(p, y->producer, "transB", trans_b);
	pai_patch_set_float(p, y->producer, "alpha", alpha);
	return y;
}

/* Nothing was repeated: the axes before the matrix are the same in an operand and the result. */
static bool same_batch(const pai_value *y, const pai_value *operand)
{
	bool same = operand->type.rank >= 2 && y->type.rank == operand->type.rank;
	for (int i = 0; same && i < y->type.rank - 2; i++)
		same = pai_dim_equal(y->type.dims[i], operand->type.dims[i]);
	return same;
}

/* Y = A B:  dA = dY B^T, dB = A^T dY, summed over the batches that broadcasting repeated. A 1-D A
 * is a row and a 1-D B a column. */
pai_status pai_grad_mat_mul(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	pai_value *a = n->in[0], *b = n->in[1], *up = dy[0];
	int ra, rb;
	PAI_TRY(pai_grad_rank(g, n, a, &ra));
	PAI_TRY(pai_grad_rank(g, n, b, &rb));
	int ry = (ra > rb ? ra : rb) < 2 ? 2 : ra > rb ? ra : rb; /* rank of dY as matrices */
	if (rb == 1) {
		b = with_axis(g, n, b, -1);
		up = with_axis(g, n, up, -1);
	}
	if (ra == 1) {
		a = with_axis(g, n, a, 0);
		up = with_axis(g, n, up, -2);
	}
	int ma = ra < 2 ? 2 : ra, mb = rb < 2 ? 2 : rb;
	if (pai_grad_wanted(g, n, 0)) {
		pai_value *da = ry == 2 ? product_of(p, 1, up, false, b, true)
					: PAI_OP2(p, "MatMul", "grad", up, transposed(p, b, mb));
		dx[0] = same_batch(n->out[0], n->in[0]) ? da
							: pai_grad_sum_to(g, n, da, NULL, n->in[0]);
	}
	if (!pai_grad_wanted(g, n, 1))
		return PAI_OK;
	pai_value *db;
	if (mb == 2) { /* one matrix for the whole batch: one tall product sums over it */
		pai_value *flat_a = a, *flat_up = up;
		if (ma > 2) {
			flat_a = PAI_OP1(p, "Flatten", "rows", a);
			flat_up = PAI_OP1(p, "Flatten", "rows", up);
			pai_patch_set_int(p, flat_a->producer, "axis", ma - 1);
			pai_patch_set_int(p, flat_up->producer, "axis", ry - 1);
		}
		db = product_of(p, 1, flat_a, true, flat_up, false);
	} else {
		db = PAI_OP2(p, "MatMul", "grad", transposed(p, a, ma), up);
	}
	if (rb == 1)
		db = PAI_OP2(p, "Reshape", "grad", db, pai_grad_shape(g, n, n->in[1]));
	dx[1] = mb == 2 || same_batch(n->out[0], n->in[1])
			? db
			: pai_grad_sum_to(g, n, db, NULL, n->in[1]);
	return PAI_OK;
}

/* Strides of C over [M, N]; false where it does not broadcast to it. */
static bool addend_strides(const pai_tensor *t, int64_t m, int64_t n, int64_t *row, int64_t *column)
{
	if (t->rank > 2)
		return false;
	int64_t columns = t->rank > 0 ? t->dims[t->rank - 1] : 1;
	int64_t rows = t->rank > 1 ? t->dims[0] : 1;
	*column = columns == 1 ? 0 : 1;
	*row = rows == 1 ? 0 : columns;
	return (columns == 1 || columns == n) && (rows == 1 || rows == m);
}

/* y = alpha y + beta C, floating point */
#define SCALE(T)                                                                               \
	static void scale_##T(T *y, int64_t m, int64_t n, float alpha, float beta,             \
			      const T *addend, int64_t row, int64_t column)                    \
	{                                                                                      \
		for (int64_t i = 0; i < m; i++)                                                \
			for (int64_t j = 0; j < n; j++, y++) {                                 \
				if (alpha != 1)                                                \
					*y *= alpha;                                           \
				if (addend)                                                    \
					*y += beta == 1 ? addend[i * row + j * column]         \
							: beta * addend[i * row + j * column]; \
			}                                                                      \
	}

SCALE(float)
SCALE(double)

/* The same for integers: the products are exact as long as a double holds them. */
static void scale_integers(pai_tensor *y, int64_t m, int64_t n, float alpha, float beta,
			   const pai_tensor *addend, int64_t row, int64_t column)
{
	for (int64_t i = 0; i < m * n; i++) {
		int64_t v = pai_tensor_get_int(y, i);
		if (alpha != 1)
			v = (int64_t)((double)v * alpha);
		if (addend) {
			int64_t w = pai_tensor_get_int(addend, i / n * row + i % n * column);
			v = (int64_t)((uint64_t)v +
				      (uint64_t)(beta == 1 ? w : (int64_t)((double)w * beta)));
		}
		if (pai_dtype_get(y->dtype)->bits == 32)
			((uint32_t *)y->data)[i] = (uint32_t)v;
		else
			((uint64_t *)y->data)[i] = (uint64_t)v;
	}
}

/* Y = alpha A' B' + beta C */
static pai_status gemm(pai_call *c)
{
	PAI_TRY(same_type(c));
	const pai_tensor *ta = c->in[0], *tb = c->in[1];
	const pai_tensor *tc = c->n_in > 2 ? c->in[2] : NULL;
	if (ta->rank != 2 || tb->rank != 2)
		return pai_fail(
			c->ctx, PAI_E_bad_input, pai_at_input(c->node, ta->rank != 2 ? 0 : 1),
			"has rank %d, expected a matrix", ta->rank != 2 ? ta->rank : tb->rank);
	bool trans_a = pai_node_int(c->node, "transA", 0),
	     trans_b = pai_node_int(c->node, "transB", 0);
	int64_t m = ta->dims[trans_a], k = ta->dims[!trans_a], n = tb->dims[!trans_b];
	int64_t row = 0, column = 0;
	if (tb->dims[trans_b] != k || (tc && !addend_strides(tc, m, n, &row, &column)))
		return pai_fail(
			c->ctx, PAI_E_runtime_shape, pai_at_node(c->node),
			"the sizes of the operands do not fit a product [%lld,%lld] and a sum",
			(long long)m, (long long)n);
	PAI_TRY(pai_call_output(c, 0, ta->dtype, 2, (int64_t[]){m, n}));
	float alpha = pai_node_float(c->node, "alpha", 1),
	      beta = pai_node_float(c->node, "beta", 1);
	if (beta == 0) /* then C does not count, whatever it holds */
		tc = NULL;

	pai_dtype dtype = pai_wide(ta->dtype);
	const void *a, *b, *addend = NULL;
	void *y, *scratch;
	PAI_TRY(pai_widen(c, 0, &a));
	PAI_TRY(pai_widen(c, 1, &b));
	if (tc)
		PAI_TRY(pai_widen(c, 2, &addend));
	PAI_TRY(pai_wide_output(c, 0, &y));
	size_t need;
	if (!pai_gemm_scratch(dtype, m, k, &need))
		need = SIZE_MAX;
	PAI_TRY(pai_call_room(c, 1, need, &scratch));
	pai_gemm(dtype, m, n, k, (pai_matrix){a, trans_a ? 1 : k, trans_a ? m : 1},
		 (pai_matrix){b, trans_b ? 1 : n, trans_b ? k : 1}, y, n, false, scratch);

	if (dtype == PAI_FLOAT)
		scale_float(y, m, n, alpha, beta, addend, row, column);
	else if (dtype == PAI_DOUBLE)
		scale_double(y, m, n, alpha, beta, addend, row, column);
	else if (alpha != 1 || tc)
		scale_integers(c->out[0], m, n, alpha, beta, tc, row, column);
	pai_narrow(c, 0, y);
	return PAI_OK;
}

static double gemm_work(const pai_node *n, const pai_tensor *const *in,
			const pai_tensor *const *out)
{
	const pai_tensor *a = in[0];
	bool across = pai_node_int(n, "transA", 0) != 0;
	return pai_elements(out[0]) * (a && a->rank == 2 ? (double)a->dims[!across] : 1);
}

const pai_kernel pai_kernel_gemm = {.run = gemm, .work = gemm_work};

/* Y = alpha A' B' + beta C:  dA' = alpha dY B'^T, dB' = alpha A'^T dY, dC = beta dY summed to C */
pai_status pai_grad_gemm(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	pai_value *a = n->in[0], *b = n->in[1], *addend = pai_node_in(n, 2), *up = dy[0];
	bool trans_a = pai_node_int(n, "transA", 0), trans_b = pai_node_int(n, "transB", 0);
	float alpha = pai_node_float(n, "alpha", 1), beta = pai_node_float(n, "beta", 1);
	if (pai_grad_wanted(g, n, 0))
		dx[0] = trans_a ? product_of(p, alpha, b, trans_b, up, true)
				: product_of(p, alpha, up, false, b, !trans_b);
	if (pai_grad_wanted(g, n, 1))
		dx[1] = trans_b ? product_of(p, alpha, up, true, a, trans_a)
				: product_of(p, alpha, a, !trans_a, up, false);
	if (addend && pai_grad_wanted(g, n, 2)) {
		if (beta != 1)
			up = PAI_OP2(p, "Mul", "grad", up,
				     pai_grad_scalar(g, n, n->out[0]->type.dtype, beta));
		dx[2] = pai_grad_sum_to(g, n, up, n->out[0], addend);
	}
	return PAI_OK;
}
