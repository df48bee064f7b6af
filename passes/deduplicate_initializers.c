/* deduplicate_initializers.c -- initialisers with equal type, shape and contents become one.
 *
 * What is one tensor is trained as one, so arrays of floats, which training moves, are merged only
 * where equal contents tell that they are the same: large ones whose elements differ. Small ones
 * (biases, scales, statistics, kernels of a few channels) and those that hold a single number over
 * and over (zeros to start from) are equal by chance of their start, and stay apart. Integers,
 * truth values, strings and single numbers are always merged.
 *
 * Contents are compared only when the bytes at both ends agree, so that a file with many
 * different weights is not read through.
 */
#include "passes/passes.h"
#include <string.h>

enum { MERGED, BYTES, PARAMETERS, SMALL, UNIFORM };
enum { SAMPLE = 512 }; /* bytes at each end */

static const pai_option options[] = {
	{.name = "keep_below",
	 .type = PAI_OPT_INT,
	 .def = "65536",
	 .min = 0,
	 .max = 1e18,
	 .help = "bytes: smaller arrays of floats stay apart for training; 0: merge all"},
	{.name = NULL},
};

/* Type, shape, and the bytes of both ends. */
static uint64_t hash_tensor(pai_ctx *ctx, const pai_tensor *t)
{
	uint64_t h = pai_hash(PAI_HASH ^ t->dtype, t->dims, sizeof *t->dims * (size_t)t->rank);
	if (t->dtype == PAI_STRING || !t->nbytes)
		return h;
	const size_t n = t->nbytes < SAMPLE ? t->nbytes : SAMPLE;
	h = pai_hash(pai_hash(h, t->data, n), (const char *)t->data + t->nbytes - n, n);
	pai_file_drop(ctx, t->data, t->nbytes);
	return h ^ h >> 31;
}

/* What training would move, see pai_session_options. */
static bool is_parameter(const pai_tensor *t)
{
	return t->rank > 0 && pai_dtype_get(t->dtype)->kind == PAI_KIND_FLOAT;
}

/* The same element over and over. */
static bool is_uniform(const pai_tensor *t)
{
	const size_t bits = pai_dtype_get(t->dtype)->bits, size = bits < 8 ? 1 : bits / 8;
	return t->nbytes <= size ||
	       memcmp(t->data, (const char *)t->data + size, t->nbytes - size) == 0;
}

/* Why two equal tensors stay apart: a counter, or MERGED. */
static int verdict(const pai_tensor *t, uint64_t keep_below)
{
	if (!is_parameter(t) || !keep_below)
		return MERGED;
	return t->nbytes < keep_below ? SMALL : is_uniform(t) ? UNIFORM : MERGED;
}

static pai_status run(pai_pass_run *r, pai_patch *out, const pai_graph *g)
{
	const uint64_t keep_below = (uint64_t)pai_item_int(r->item, options, "keep_below");
	size_t cap = 16;
	while (cap < 2 * (size_t)g->inits.n)
		cap *= 2;
	pai_value **table = PAI_NEWS(r->scratch, pai_value *, cap);
	uint64_t *hashes = PAI_NEWS(r->scratch, uint64_t, cap);
	for (int k = 0; k < g->inits.n; k++) {
		pai_value *v = g->inits.at[k];
		if (v->is_input || v->is_output || !pai_value_constant(v))
			continue;
		uint64_t h = hash_tensor(r->ctx, v->init);
		size_t i = h & (cap - 1);
		while (table[i] && (hashes[i] != h || !pai_tensor_equal(table[i]->init, v->init)))
			i = (i + 1) & (cap - 1);
		if (!table[i]) {
			table[i] = v;
			hashes[i] = h;
			continue;
		}
		int why = verdict(v->init, keep_below);
		if (why != MERGED) {
			r->counts[why] += r->round == 0;
			continue;
		}
		pai_patch_begin(out, NULL, "equal initialisers");
		pai_patch_replace(out, v, table[i]);
		pai_patch_erase_init(out, v);
		pai_patch_count(out, &r->counts[MERGED], 1);
		pai_patch_count(out, &r->counts[BYTES], v->init->nbytes);
		pai_patch_count(out, &r->counts[PARAMETERS], is_parameter(v->init));
	}
	return PAI_OK;
}

const pai_pass pai_pass_deduplicate_initializers = {
	.name = "deduplicate-initializers",
	.summary = "keep equal initialisers once, save those that training moves apart",
	.exactness = PAI_EXACT,
	.once = true,
	.options = options,
	.stats = (const char *const[]){[MERGED] = "merged",
				       [BYTES] = "bytes saved",
				       [PARAMETERS] = "of them arrays of floats, trained as one",
				       [SMALL] = "kept: small, and training moves it",
				       [UNIFORM] = "kept: one number only, and training moves it",
				       NULL},
	.run = run,
};
