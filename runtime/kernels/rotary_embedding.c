/* rotary_embedding.c -- RotaryEmbedding: pairs of elements of a head are turned by the angle of
 * their position, (a, b) -> (a cos - b sin, a sin + b cos). What lies behind rotary_embedding_dim
 * stays. The arithmetic is double. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/indices.h"
#include "runtime/kernels/lanes.h"

typedef struct rotary { /* x is [batch, length, heads, size] with these strides */
	int64_t batch, length, heads, size, at_batch, at_row, at_head;
	int64_t half;       /* pairs of a head that turn */
	bool interleaved;   /* pairs are neighbours, else half apart */
	int64_t *positions; /* [batch, length], rows of the caches; NULL: caches have all rows */
	const double *cos, *sin;
} rotary;

static pai_status wrong(pai_call *c, int slot, const char *why)
{
	return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, slot), "%s", why);
}

static pai_status read_layout(pai_call *c, rotary *r)
{
	const pai_tensor *x = c->in[0];
	const int64_t *d = x->dims, n = pai_node_int(c->node, "num_heads", 0);
	if (pai_lane_of(x->dtype) == PAI_LANE_NONE || (x->rank != 3 && x->rank != 4))
		return wrong(c, 0, "is no tensor of numbers of rank 3 or 4");
	if (x->rank == 4)
		*r = (rotary){.batch = d[0],
			      .length = d[2],
			      .heads = d[1],
			      .size = d[3],
			      .at_batch = d[1] * d[2] * d[3],
			      .at_row = d[3],
			      .at_head = d[2] * d[3]};
	else if (n < 1 || d[2] % n)
		return wrong(c, 0, "has a last dimension that num_heads does not divide");
	else
		*r = (rotary){.batch = d[0],
			      .length = d[1],
			      .heads = n,
			      .size = d[2] / n,
			      .at_batch = d[1] * d[2],
			      .at_row = d[2],
			      .at_head = d[2] / n};
	int64_t turned = pai_node_int(c->node, "rotary_embedding_dim", 0);
	turned = turned ? turned : r->size;
	if (turned < 0 || turned > r->size || turned % 2)
		return pai_fail(c->ctx, PAI_E_bad_input,
				pai_at_attr(c->node, "rotary_embedding_dim"),
				"is %lld, expected an even number up to the head size %lld",
				(long long)turned, (long long)r->size);
	r->half = turned / 2;
	r->interleaved = pai_node_int(c->node, "interleaved", 0) != 0;
	return PAI_OK;
}

static pai_status read_caches(pai_call *c, rotary *r)
{
	const pai_tensor *ids = c->n_in > 3 ? c->in[3] : NULL;
	const double **to[2] = {&r->cos, &r->sin};
	for (int k = 0; k < 2; k++) {
		const pai_tensor *t = c->in[1 + k];
		bool fits = t->rank == (ids ? 2 : 3) && t->dims[t->rank - 1] == r->half &&
			    pai_lane_of(t->dtype) != PAI_LANE_NONE;
		fits = fits && (ids ? t->dims[0] == c->in[1]->dims[0]
				    : t->dims[0] == r->batch && t->dims[1] == r->length);
		if (!fits)
			return wrong(c, 1 + k, "does not fit the positions and half of what turns");
		*to[k] = pai_lane_view(c, PAI_LANE_F64, t);
		if (!*to[k])
			return pai_call_nomem(c);
	}
	if (!ids)
		return PAI_OK;
	if (ids->rank != 2 || ids->dims[0] != r->batch || ids->dims[1] != r->length)
		return wrong(c, 3, "is not [batch, length]");
	return pai_call_positions(c, 3, c->in[1]->dims[0], &r->positions);
}

/* One head at one position; `line` holds it. back: by the negative angle. */
static void turn(const rotary *r, double *line, int64_t row, bool back)
{
	const double *cos = r->cos + row * r->half, *sin = r->sin + row * r->half;
	for (int64_t i = 0; i < r->half; i++) {
		double *a = &line[r->interleaved ? 2 * i : i];
		double *b = &line[r->interleaved ? 2 * i + 1 : i + r->half];
		double s = back ? -sin[i] : sin[i], x = *a, y = *b;
		*a = x * cos[i] - y * s;
		*b = x * s + y * cos[i];
	}
}

static pai_status rotary_embedding(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	rotary r;
	void *room = NULL;
	PAI_TRY(read_layout(c, &r));
	PAI_TRY(read_caches(c, &r));
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	PAI_TRY(pai_call_room(c, r.size, sizeof(double), &room));
	for (int64_t i = 0; i < r.batch * r.length && pai_tensor_nelem(x) > 0; i++)
		for (int64_t h = 0; h < r.heads; h++) {
			int64_t at =
				i / r.length * r.at_batch + i % r.length * r.at_row + h * r.at_head;
			pai_lane_load(PAI_LANE_F64, room, x->dtype, x->data, at, r.size);
			turn(&r, room, r.positions ? r.positions[i] : i, c->kernel->data != NULL);
			pai_lane_store(PAI_LANE_F64, room, x->dtype, c->out[0]->data, at, r.size);
		}
	return PAI_OK;
}

const pai_kernel pai_kernel_rotary_embedding = {.run = rotary_embedding};
const pai_kernel pai_kernel_rotary_embedding_grad = {.run = rotary_embedding, .data = "back"};

/* dX = dY turned back */
pai_status pai_grad_rotary_embedding(pai_grad *g, const pai_node *n, pai_value *const *dy,
				     pai_value **dx)
{
	pai_value *in[4] = {dy[0], n->in[1], n->in[2], pai_node_in(n, 3)};
	for (int k = 1; k < 3; k++)
		if (pai_grad_wanted(g, n, k))
			return pai_fail(n->graph->model->ctx, PAI_E_no_gradient, pai_at_input(n, k),
					"no gradient flows to the angles");
	dx[0] = pai_grad_internal(g, "RotaryEmbeddingGrad", in[3] ? 4 : 3, in, n);
	return PAI_OK;
}
