/* gemm.c -- Gemm and MatMul by our own products, with bias, activation and the mask of a following
 * activation's gradient done on the sums. oneDNN takes only products that outgrow the caches. */
#include "runtime/fast/fast.h"
#include "runtime/onednn.h"
#include "runtime/simd.h"
#include <string.h>

typedef struct gemm_step {
	const pai_own *own;
	const pai_tensor *a, *b, *c, *bias, *mask, *addend, *scratch;
	const pai_tensor *turned;        /* room for A by rows, where it is stored by columns */
	const pai_tensor *packed;        /* B as the inner loop reads it; NULL: as it comes */
	pai_product g;                   /* with everything but addresses */
	int64_t batch, a_batch, b_batch; /* strides of batches; 0: the same matrix */
	int64_t addend_row, addend_col;  /* strides; elements */
	int threads;
	bool by_rows;
	const pai_mover *mover; /* C is a gradient: what it moves, tile by tile; else NULL */
	int64_t tile_rows;
	bool of_rows; /* the tiles are rows of B, scaled */
} gemm_step;

typedef struct part {
	const gemm_step *s;
	pai_product g;
} part;

static void range(void *args, int64_t lo, int64_t hi, int thread)
{
	const part *p = args;
	enum { COLUMNS = 16, ROWS = 12 };
	int64_t step = p->s->by_rows ? ROWS : COLUMNS, all = p->s->by_rows ? p->g.m : p->g.n;
	int64_t to = hi * step < all ? hi * step : all;
	p->s->own->gemm(&p->g, p->s->by_rows, lo * step, to,
			(float *)p->s->scratch->data + (int64_t)thread * PAI_GEMM_SCRATCH);
}

/* k = 1: a row of the gradient is a row of B, scaled. */
static void move_row(const gemm_step *s, const pai_product *g, int64_t i)
{
	float *c = s->c->data;
	pai_mover_move(s->mover, i * g->n, g->n, g->a[i * g->a_row], g->b);
	if (c)
		s->own->gemm(g, true, i, i + 1, NULL);
}

/* Tiles of the gradient, each used while it is in the cache. They are written one over the other
 * where nobody wants to see the whole. */
static void move_tiles(void *args, int64_t lo, int64_t hi, int thread)
{
	const part *p = args;
	const gemm_step *s = p->s;
	int64_t n = s->g.n, room = PAI_GEMM_SCRATCH + s->tile_rows * n;
	float *scratch = (float *)s->scratch->data + thread * room, *c = s->c->data;
	unsigned modes = pai_flush_subnormals();
	for (int64_t t = lo; t < hi; t++) {
		int64_t i = t * s->tile_rows, left = s->g.m - i;
		pai_product g = p->g;
		if (s->of_rows) {
			move_row(s, &g, i);
			continue;
		}
		g.m = left < s->tile_rows ? left : s->tile_rows;
		g.a += i * g.a_row;
		g.c = c ? c + i * n : scratch + PAI_GEMM_SCRATCH;
		s->own->gemm(&g, true, 0, g.m, scratch);
		pai_mover_move(s->mover, i * n, g.m * n, 1, g.c);
	}
	pai_put_modes(modes);
}

/* C starts as the addend where that is no row: the product is then added to it. */
static void put_addend(const gemm_step *s, float *c)
{
	const float *from = s->addend->data;
	for (int64_t i = 0; i < s->g.m; i++)
		for (int64_t j = 0; j < s->g.n; j++)
			c[i * s->g.c_row + j] = from[i * s->addend_row + j * s->addend_col];
}

static pai_status run(void *args, pai_run *run)
{
	const gemm_step *s = args;
	part p = {.s = s, .g = s->g};
	(void)run;
	p.g.bias = s->bias ? s->bias->data : NULL;
	for (int64_t i = 0; i < s->batch; i++) {
		p.g.a = (const float *)s->a->data + i * s->a_batch;
		p.g.b = (const float *)s->b->data + i * s->b_batch;
		p.g.c = (float *)s->c->data + i * s->g.m * s->g.n;
		if (s->turned) {
			s->own->transpose(s->g.k, s->g.m, p.g.a, s->g.a_col, s->turned->data,
					  s->g.k);
			p.g.a = s->turned->data;
			p.g.a_row = s->g.k;
			p.g.a_col = 1;
		}
		p.g.packed = s->packed ? s->packed->data : NULL;
		p.g.mask = s->mask ? (const float *)s->mask->data + i * s->g.m * s->g.n : NULL;
		if (s->addend)
			put_addend(s, p.g.c);
		if (s->mover) {
			pai_parallel(s->threads, (s->g.m + s->tile_rows - 1) / s->tile_rows,
				     move_tiles, &p);
			continue;
		}
		int64_t n = s->by_rows ? (s->g.m + 11) / 12 : (s->g.n + 15) / 16;
		pai_parallel(s->threads, n, range, &p);
	}
	return PAI_OK;
}

/* The mask on the product, when it is a gradient that only a Relu's gradient reads. */
static pai_unit *following_relu_grad(const pai_slot *y)
{
	pai_unit *r = pai_slot_only_reader(y);
	bool is = r && pai_node_is_in(r->node, PAI_DOMAIN_INTERNAL, "ReluGrad") && r->in[0] == y &&
		  r->in[1] && r->out[0] && pai_slot_ready(r->in[1]);
	return is ? r : NULL;
}

static pai_slot *result(pai_plan *p, gemm_step *s, pai_unit *u, pai_slot **mask, const char **name)
{
	pai_slot *y = u->out[0];
	const char *op = u->node->op_type;
	pai_unit *relu = pai_following_relu(y), *grad = following_relu_grad(y);
	*name = op;
	if (relu && pai_unit_is(relu, PAI_FLOAT)) {
		s->g.relu = relu->dead = true;
		*name = pai_arena_printf(p->arena, "%s+Relu", op);
		y = relu->out[0];
	} else if (grad && pai_unit_is(grad, PAI_FLOAT)) {
		*mask = pai_slot_in(p, grad->in[1], false);
		grad->dead = true;
		*name = pai_arena_printf(p->arena, "%s+ReluGrad", op);
		y = grad->out[0];
	}
	return y;
}

enum { CACHE_FLOATS = 4 << 20 }; /* of A: past this, blocking by the last cache pays */

static pai_status by_onednn(pai_plan *p, pai_unit *u, const gemm_step *s, pai_slot *const *in,
			    bool *taken)
{
	pai_dnn_op *op;
	pai_slot *y = u->out[0];
	const pai_product *g = &s->g;
	pai_dnn_matrix a = {g->m, g->k, s->a_batch, g->a_row, g->a_col};
	pai_dnn_matrix b = {g->k, g->n, s->b_batch, g->b_row, g->b_col};
	pai_dnn_matrix c = {g->m, g->n, g->m * g->n, g->n, 1};
	bool plain = p->options.no_onednn || s->addend || g->alpha != 1 || in[3];
	if (plain || (double)g->m * (double)g->k < CACHE_FLOATS || g->n < 64)
		return PAI_OK;
	pai_unit *relu = pai_following_relu(y);
	PAI_TRY(pai_dnn_matmul_new(p, s->batch, &a, &b, &c, s->bias != NULL, relu != NULL, &op));
	if (!op)
		return PAI_OK;
	if (relu) {
		relu->dead = true;
		y = relu->out[0];
	}
	pai_slot *out[] = {y, NULL};
	if (pai_dnn_bytes(op, PAI_DNN_SCRATCH)) {
		out[1] = pai_slot_temp(p, pai_dnn_bytes(op, PAI_DNN_SCRATCH));
		pai_dnn_bind(op, PAI_DNN_SCRATCH, &out[1]->tensor);
	}
	pai_dnn_bind(op, PAI_DNN_SRC, s->a);
	pai_dnn_bind(op, PAI_DNN_WEIGHTS, s->b);
	if (s->bias)
		pai_dnn_bind(op, PAI_DNN_BIAS, s->bias);
	pai_dnn_bind(op, PAI_DNN_DST, &y->tensor);
	pai_step_info info = {.node = u->node, .name = u->node->op_type, .impl = pai_dnn_impl(op)};
	info.flops = 2.0 * (double)s->batch * (double)g->m * (double)g->n * (double)g->k;
	pai_plan_emit(p, (pai_step){pai_dnn_run, op}, info, 3, in, 2, out);
	*taken = true;
	return PAI_OK;
}

enum {
	TURN_K = 32,
	MOVE_K = 8,     /* past this a tile costs more, as it gathers B for itself, than it saves */
	TILE = 1 << 12, /* floats: in the first cache beside what they move */
	PACK_M = 4,     /* rows of C for which a constant B is packed */
};

/* Weights that stay are packed once. */
static pai_status pack_constant(pai_plan *p, gemm_step *s, const pai_slot *b)
{
	if (!pai_slot_constant(b) || s->b_batch || s->g.m < PACK_M || !s->g.k || !s->g.n)
		return PAI_OK;
	int64_t wide = (s->g.n + PAI_GEMM_COLUMNS - 1) / PAI_GEMM_COLUMNS * PAI_GEMM_COLUMNS;
	pai_slot *to;
	PAI_TRY(pai_slot_fixed(p, sizeof(float) * (size_t)(s->g.k * wide), &to));
	s->packed = &to->tensor;
	pai_product g = s->g;
	g.b = b->tensor.data;
	p->own->pack(&g, to->tensor.data);
	return PAI_OK;
}

/* A product over a short k is soon made: what costs is to write it and to read it again. */
static void take_mover(pai_plan *p, gemm_step *s, pai_slot *y, int n_in, pai_slot *const *in)
{
	const pai_product *g = &s->g;
	if (s->batch != 1 || s->addend || in[3] || g->k > MOVE_K || !g->n)
		return;
	s->mover = pai_mover_take(p, y, n_in, in);
	if (!s->mover)
		return;
	s->of_rows = g->k == 1 && g->b_col == 1 && g->alpha == 1 && !s->bias && !g->relu;
	int64_t rows = s->of_rows ? 1 : TILE / g->n;
	s->tile_rows = rows < 1 ? 1 : rows > g->m ? g->m : rows;
	double work = (double)g->m * (double)g->n * ((double)g->k + PAI_MOVE_WORK);
	s->threads = pai_step_threads(p, work);
}

/* in: A, B, bias or addend, mask. */
static pai_status emit(pai_plan *p, pai_unit *u, gemm_step *s, pai_slot **in, bool *taken)
{
	const char *name;
	s->own = p->own;
	s->a = &in[0]->tensor;
	s->b = &in[1]->tensor;
	s->g.c_row = s->g.n;
	PAI_TRY(by_onednn(p, u, s, in, taken));
	if (*taken)
		return PAI_OK;
	pai_slot *y = result(p, s, u, &in[3], &name);
	double work = (double)s->batch * (double)s->g.m * (double)s->g.n * (double)s->g.k;
	s->threads = pai_step_threads(p, work);
	s->by_rows = s->g.m >= s->g.n;
	take_mover(p, s, y, 4, in);
	if (!s->mover)
		PAI_TRY(pack_constant(p, s, in[1]));
	size_t scratch = PAI_GEMM_SCRATCH + (size_t)(s->mover ? s->tile_rows * s->g.n : 0);
	pai_slot *out[3] = {y, pai_slot_temp(p, sizeof(float) * scratch * (size_t)s->threads)};
	if (s->mover)
		name = pai_arena_printf(p->arena, "%s+%s", name, s->mover->updates->name);
	if (s->mover && y->place == PAI_IN_ARENA)
		out[0] = NULL; /* has no place */
	/* Columns of A that lie far apart evict each other from the first cache. */
	if (s->g.a_col > 1 && s->g.a_row == 1 && s->g.k >= TURN_K && s->g.n >= TURN_K) {
		out[2] = pai_slot_temp(p, sizeof(float) * (size_t)(s->g.m * s->g.k));
		s->turned = &out[2]->tensor;
	}
	s->c = &y->tensor;
	s->scratch = &out[1]->tensor;
	s->mask = in[3] ? &in[3]->tensor : NULL;
	pai_step_info info = {
		.node = u->node, .name = name, .impl = p->own->name, .flops = 2 * work};
	info.bytes = (double)s->a->nbytes + (double)s->b->nbytes + (double)y->tensor.nbytes;
	pai_plan_emit(p, (pai_step){run, s}, info, 4, in, 3, out);
	*taken = true;
	return PAI_OK;
}

/* A row is a bias, added with the sums; anything else that broadcasts is written first. */
static void take_addend(gemm_step *s, pai_slot *c, float beta)
{
	const pai_tensor *t = &c->tensor;
	int64_t rows = t->rank == 2 ? t->dims[0] : 1, cols = t->rank ? t->dims[t->rank - 1] : 1;
	if (rows == 1 && cols == s->g.n && beta == 1) {
		s->bias = t;
		return;
	}
	s->addend = t;
	s->g.beta = beta;
	s->addend_row = rows == 1 ? 0 : cols;
	s->addend_col = cols == 1 ? 0 : 1;
}

pai_status pai_fast_gemm(pai_plan *p, pai_unit *u, bool *taken)
{
	if (!pai_unit_is(u, PAI_FLOAT) || u->in[0]->tensor.rank != 2 ||
	    u->in[1]->tensor.rank != 2 || u->node->op->since < 7)
		return PAI_OK;
	bool ta = pai_node_int(u->node, "transA", 0), tb = pai_node_int(u->node, "transB", 0);
	const int64_t *a = u->in[0]->tensor.dims, *b = u->in[1]->tensor.dims;
	gemm_step *s = PAI_NEW(p->arena, gemm_step);
	s->batch = 1;
	s->g = (pai_product){.m = ta ? a[1] : a[0],
			     .k = ta ? a[0] : a[1],
			     .n = tb ? b[0] : b[1],
			     .a_row = ta ? 1 : a[1],
			     .a_col = ta ? a[1] : 1,
			     .b_row = tb ? 1 : b[1],
			     .b_col = tb ? b[1] : 1,
			     .alpha = pai_node_float(u->node, "alpha", 1)};
	pai_slot *in[4] = {u->in[0], u->in[1], u->n_in > 2 ? u->in[2] : NULL, NULL};
	float beta = pai_node_float(u->node, "beta", 1);
	if (beta == 0)
		in[2] = NULL;
	if (in[2])
		take_addend(s, in[2], beta);
	return emit(p, u, s, in, taken);
}

/* Add of a row to the product, as exporters write a bias. */
static pai_unit *following_bias(const pai_slot *y, int64_t n, pai_slot **bias)
{
	pai_unit *r = pai_slot_only_reader(y);
	if (!r || !pai_node_is(r->node, "Add") || r->node->op->since < 7 || !r->out[0] ||
	    !pai_unit_is(r, PAI_FLOAT))
		return NULL;
	*bias = r->in[0] == y ? r->in[1] : r->in[0];
	const pai_tensor *t = &(*bias)->tensor;
	bool row = t->rank >= 1 && t->rank <= y->tensor.rank && t->dims[t->rank - 1] == n &&
		   pai_tensor_nelem(t) == n;
	return row && pai_slot_ready(*bias) ? r : NULL;
}

/* Stacks of matrices: one stride serves for all leading axes, or the operand does not repeat. */
static bool batch_stride(const pai_tensor *t, const pai_tensor *y, int64_t *out)
{
	int64_t leading = 1;
	for (int i = 0; i < t->rank - 2; i++)
		leading *= t->dims[i];
	int64_t all = 1;
	for (int i = 0; i < y->rank - 2; i++)
		all *= y->dims[i];
	*out = leading == 1 ? 0 : t->dims[t->rank - 2] * t->dims[t->rank - 1];
	return leading == 1 || leading == all;
}

pai_status pai_fast_mat_mul(pai_plan *p, pai_unit *u, bool *taken)
{
	if (!pai_unit_is(u, PAI_FLOAT) || u->in[0]->tensor.rank < 2 || u->in[1]->tensor.rank < 2)
		return PAI_OK;
	pai_slot *in[4] = {pai_slot_in(p, u->in[0], false), pai_slot_in(p, u->in[1], false)};
	const pai_tensor *a = &in[0]->tensor, *b = &in[1]->tensor, *y = &u->out[0]->tensor;
	gemm_step *s = PAI_NEW(p->arena, gemm_step);
	if (!batch_stride(a, y, &s->a_batch) || !batch_stride(b, y, &s->b_batch))
		return PAI_OK;
	s->batch = 1;
	for (int i = 0; i < y->rank - 2; i++)
		s->batch *= y->dims[i];
	int64_t m = a->dims[a->rank - 2], k = a->dims[a->rank - 1], n = b->dims[b->rank - 1];
	if (s->a_batch && !s->b_batch) { /* one tall product */
		m *= s->batch;
		s->batch = 1;
	}
	s->g = (pai_product){
		.m = m, .n = n, .k = k, .a_row = k, .a_col = 1, .b_row = n, .b_col = 1, .alpha = 1};
	pai_unit *add = following_bias(u->out[0], n, &in[2]);
	pai_unit sum = *u;
	if (add) {
		s->bias = &in[2]->tensor;
		add->dead = true;
		sum.out = add->out;
		u = &sum;
	} else {
		in[2] = NULL;
	}
	return emit(p, u, s, in, taken);
}
