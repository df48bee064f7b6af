/* inputs.c -- contents for a model's inputs: random ones for checks, or named ones from files. */
#include "runtime/runtime.h"
#include <inttypes.h>
#include <string.h>

/* Sizes tried for free dimensions other than the batch: what fits is taken. */
static const int64_t free_sizes[] = {16, 32, 64, 8, 4, 2, 1, 128, 224, 256, 512, 1024};

typedef struct sizes { /* of free dimensions */
	int64_t batch, other;
	bool rest_is_batch; /* those of inputs behind the first, such as states, are the batch */
} sizes;

static int64_t size_for(pai_dim d, int input, int axis, const sizes *s)
{
	if (d >= 0)
		return d;
	return axis == 0 || (input > 0 && s->rest_is_batch) ? s->batch : s->other;
}

static pai_status fix_free_dims(pai_model *m, const sizes *s)
{
	pai_value *const *in;
	int n = pai_model_inputs(m, &in);
	for (int i = 0; i < n; i++) {
		for (int k = 0; k < in[i]->type.rank; k++) {
			if (in[i]->type.dims[k] >= 0)
				continue;
			char axis[16];
			snprintf(axis, sizeof axis, ":%d", k);
			const char *name = pai_arena_printf(m->arena, "%s%s", in[i]->name, axis);
			int64_t size = size_for(in[i]->type.dims[k], i, k, s);
			if (in[i]->type.dims[k] != PAI_DIM_UNKNOWN)
				name = pai_dim_text(m->ctx, in[i]->type.dims[k]);
			PAI_TRY(pai_model_fix_dim(m, name, size));
		}
	}
	return pai_infer(m);
}

/* The free batch of a single input gets its size without trial. */
static bool has_free_dims(const pai_model *m)
{
	pai_value *const *in;
	int n = pai_model_inputs(m, &in);
	for (int i = 0; i < n; i++)
		for (int k = n == 1; k < in[i]->type.rank; k++)
			if (in[i]->type.dims[k] < 0)
				return true;
	return false;
}

static void fill(pai_tensor *t, uint64_t seed, uint64_t stream)
{
	const pai_random r = pai_random_new(seed, stream, 0);
	const int64_t n = pai_tensor_nelem(t);
	const pai_dtype_kind kind = pai_dtype_get(t->dtype)->kind;
	if (t->dtype == PAI_STRING) {
		for (int64_t i = 0; i < n; i++)
			((pai_str *)t->data)[i] = (pai_str){"a", 1};
	} else if (kind == PAI_KIND_COMPLEX) {
		memset(t->data, 0, t->nbytes);
	} else if (t->dtype == PAI_FLOAT) {
		for (int64_t i = 0; i < n; i++)
			((float *)t->data)[i] = pai_random_normal(&r, (uint64_t)i);
	} else {
		for (int64_t i = 0; i < n; i++) {
			double whole = (double)(int)(3 * pai_random_uniform(&r, (uint64_t)i));
			double v = kind == PAI_KIND_FLOAT
					   ? (double)pai_random_normal(&r, (uint64_t)i)
				   : kind == PAI_KIND_BOOL ? (double)(whole > 0)
							   : whole;
			pai_tensor_set(t, i, v);
		}
	}
}

typedef struct held { /* memory of inputs, until their arena goes */
	pai_ctx *ctx;
	size_t nbytes;
} held;

static void give_back(void *p)
{
	held *h = p;
	pai_budget_give(h->ctx, h->nbytes);
}

enum { FILL_WORK = 40 }; /* of a random number */

/* Both are taken before any input is made: a large one is refused at once. */
static pai_status afford(pai_ctx *ctx, pai_arena *a, const pai_value *v, const int64_t *dims)
{
	held *h = PAI_NEW(a, held);
	h->ctx = ctx;
	if (!pai_tensor_nbytes(v->type.dtype, v->type.rank, dims, &h->nbytes))
		h->nbytes = SIZE_MAX;
	PAI_TRY(pai_budget_take(ctx, pai_at_value(v), h->nbytes));
	pai_arena_defer(a, give_back, h);
	const pai_tensor t = {
		.dtype = v->type.dtype, .rank = v->type.rank, .dims = (int64_t *)dims};
	return pai_budget_work(ctx, pai_at_value(v), FILL_WORK * (double)pai_tensor_nelem(&t));
}

static pai_status input_dims(pai_ctx *ctx, const pai_value *v, int input, int64_t *dims)
{
	if (v->type.kind != PAI_TYPE_TENSOR || v->type.rank < 0 || v->type.rank > PAI_MAX_RANK ||
	    !v->type.dtype)
		return pai_fail(ctx, PAI_E_bad_input, pai_at_value(v),
				"is no tensor of known rank, so it cannot be filled with random "
				"numbers; give inputs with --input");
	for (int k = 0; k < v->type.rank; k++)
		dims[k] = size_for(v->type.dims[k], input, k, &(sizes){2, 1, false});
	return PAI_OK;
}

static pai_status fill_inputs(pai_ctx *ctx, pai_arena *a, const pai_model *m, uint64_t seed,
			      const pai_tensor ***out)
{
	int64_t dims[PAI_MAX_RANK];
	pai_value *const *in;
	int n = pai_model_inputs(m, &in);
	*out = PAI_NEWS(a, const pai_tensor *, n);
	for (int i = 0; i < n; i++) {
		PAI_TRY(input_dims(ctx, in[i], i, dims));
		PAI_TRY(afford(ctx, a, in[i], dims));
	}
	for (int i = 0; i < n; i++) {
		PAI_TRY(input_dims(ctx, in[i], i, dims));
		pai_tensor *t = pai_tensor_new(a, in[i]->type.dtype, in[i]->type.rank, dims);
		if (!t)
			return pai_fail(ctx, PAI_E_memory, pai_at_value(in[i]),
					"no memory for an input");
		t->name = pai_arena_strdup(a, in[i]->name); /* the model may be a copy that goes */
		fill(t, seed, (uint64_t)i);
		(*out)[i] = t;
	}
	return PAI_OK;
}

/* Do sizes that inference has no objection to carry through a run? */
static pai_status try_run(pai_ctx *ctx, const pai_model *m, const pai_tensor *const *in)
{
	pai_runner *r;
	const pai_tensor **out = PAI_NEWS(m->arena, const pai_tensor *, m->graph->outputs.n);
	PAI_TRY(pai_runner_new(ctx, m, NULL, &r));
	pai_status status = pai_runner_run(r, in, out);
	pai_runner_free(r);
	return status;
}

static pai_status try_sizes(pai_ctx *ctx, pai_arena *a, const pai_model *m, const sizes *s,
			    uint64_t seed, const pai_tensor ***out)
{
	pai_model *copy = pai_model_clone(m);
	pai_status status = fix_free_dims(copy, s);
	if (status == PAI_OK)
		status = fill_inputs(ctx, a, copy, seed, out);
	if (status == PAI_OK)
		status = try_run(ctx, copy, *out);
	pai_model_free(copy);
	return status;
}

static pai_status random_inputs(pai_ctx *ctx, pai_arena *a, const pai_model *m, uint64_t seed,
				const pai_tensor ***out)
{
	if (!has_free_dims(m))
		return fill_inputs(ctx, a, m, seed, out);
	void (*listener)(void *, const pai_diag *) = ctx->on_diag;
	const int said = pai_diag_count(ctx);
	pai_status status = PAI_INVALID;
	ctx->on_diag = NULL;         /* sizes that do not fit are tried on purpose */
	const pai_diag *last = NULL; /* why the last size did not do */
	const size_t n = 4 * sizeof free_sizes / sizeof *free_sizes;
	for (size_t i = 0; status == PAI_INVALID && i < n; i++) {
		const sizes s = {i % 4 < 2 ? 2 : 1, free_sizes[i / 4], i % 2 != 0};
		status = try_sizes(ctx, a, m, &s, seed, out);
		last = pai_diag_count(ctx) > said ? pai_diag_get(ctx, pai_diag_count(ctx) - 1)
						  : NULL;
		if (last && last->code == PAI_E_no_kernel) /* no size will help */
			break;
	}
	ctx->on_diag = listener;
	for (int i = said; listener && status == PAI_OK && i < pai_diag_count(ctx); i++)
		if (pai_diag_get(ctx, i)->severity == PAI_WARNING)
			listener(ctx->payload, pai_diag_get(ctx, i));
	if (status == PAI_OK)
		return PAI_OK;
	if (listener && last)
		listener(ctx->payload, last);
	if (last && last->code == PAI_E_no_kernel)
		return status;
	return pai_fail(ctx, PAI_E_bad_input, pai_at_file(m->path),
			"no sizes were found for the free input dimensions with which the model "
			"runs; give them with --dim NAME=N, or inputs with --input");
}

pai_status pai_random_inputs(pai_ctx *ctx, pai_arena *a, const pai_model *m, uint64_t seed,
			     const pai_tensor ***out)
{
	pai_budget_begin(ctx);
	pai_status status = random_inputs(ctx, a, m, seed, out);
	pai_budget_end(ctx);
	return status;
}

static bool fits(const pai_type *t, const pai_tensor *given)
{
	if (t->dtype && t->dtype != given->dtype)
		return false;
	if (t->rank >= 0 && t->rank != given->rank)
		return false;
	for (int i = 0; i < t->rank; i++)
		if (t->dims[i] >= 0 && t->dims[i] != given->dims[i])
			return false;
	return true;
}

static const pai_tensor *find_named(int n, pai_tensor *const *given, const char *name)
{
	for (int i = 0; i < n; i++)
		if (given[i]->name && strcmp(given[i]->name, name) == 0)
			return given[i];
	return NULL;
}

pai_status pai_match_inputs(pai_ctx *ctx, pai_arena *a, const pai_model *m, const char *file, int n,
			    pai_tensor *const *given, const pai_tensor ***out)
{
	pai_value *const *in;
	int n_in = pai_model_inputs(m, &in);
	const pai_tensor **matched = PAI_NEWS(a, const pai_tensor *, n_in);
	for (int i = 0; i < n_in; i++) {
		bool unnamed = n == 1 && n_in == 1 && (!given[0]->name || !*given[0]->name);
		matched[i] = unnamed ? given[0] : find_named(n, given, in[i]->name);
		if (!matched[i])
			return pai_fail(ctx, PAI_E_bad_input, pai_at_file(file),
					"has no array named \"%s\", which is an input of the model",
					pai_escape(a, in[i]->name));
		if (!fits(&in[i]->type, matched[i]))
			return pai_fail(ctx, PAI_E_bad_input, pai_at_file(file),
					"array \"%s\" is %s, but the model's input is %s",
					pai_escape(a, in[i]->name), pai_tensor_text(a, matched[i]),
					pai_type_text(ctx, a, &in[i]->type));
	}
	*out = matched;
	return PAI_OK;
}
