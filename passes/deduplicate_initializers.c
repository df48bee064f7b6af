/* deduplicate_initializers.c -- initialisers with equal type, shape and contents become one.
 *
 * Contents are compared only when the bytes at both ends agree, so that a file with many
 * different weights is not read through. Parameters of dendrites, which start equal and are trained
 * apart, stay apart; other tensors that training must keep apart are kept so by leaving this pass
 * out.
 */
#include "passes/dendrites.h"
#include <string.h>

enum { MERGED, BYTES, DENDRITE };
enum { SAMPLE = 512 }; /* bytes at each end */

static uint64_t mix(uint64_t h, const void *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
	return h ^ h >> 31;
}

/* Type, shape, and the bytes of both ends. */
static uint64_t hash_tensor(pai_ctx *ctx, const pai_tensor *t)
{
	uint64_t h =
		mix(0xcbf29ce484222325u ^ t->dtype, t->dims, sizeof *t->dims * (size_t)t->rank);
	if (t->dtype == PAI_STRING || !t->nbytes)
		return h;
	const size_t n = t->nbytes < SAMPLE ? t->nbytes : SAMPLE;
	h = mix(mix(h, t->data, n), (const char *)t->data + t->nbytes - n, n);
	pai_file_drop(ctx, t->data, t->nbytes);
	return h;
}

static bool of_a_dendrite(const pai_uses *uses, const pai_value *v)
{
	for (int i = 0; v->init->rank > 0 && i < uses->n[v->id]; i++)
		if (pai_prop_get(&uses->of[v->id][i].node->props, PAI_DENDRITE_LAYER))
			return true;
	return false;
}

static pai_status run(pai_pass_run *r, pai_patch *out, const pai_graph *g)
{
	size_t cap = 16;
	while (cap < 2 * (size_t)g->inits.n)
		cap *= 2;
	pai_value **table = PAI_NEWS(r->scratch, pai_value *, cap);
	uint64_t *hashes = PAI_NEWS(r->scratch, uint64_t, cap);
	for (int k = 0; k < g->inits.n; k++) {
		pai_value *v = g->inits.at[k];
		if (v->is_input || v->is_output || !pai_value_constant(v))
			continue;
		if (of_a_dendrite(r->uses, v)) {
			r->counts[DENDRITE]++;
			continue;
		}
		uint64_t h = hash_tensor(r->ctx, v->init);
		size_t i = h & (cap - 1);
		while (table[i] && (hashes[i] != h || !pai_tensor_equal(table[i]->init, v->init)))
			i = (i + 1) & (cap - 1);
		if (!table[i]) {
			table[i] = v;
			hashes[i] = h;
			continue;
		}
		pai_patch_begin(out, NULL, "equal initialisers");
		pai_patch_replace(out, v, table[i]);
		pai_patch_erase_init(out, v);
		r->counts[MERGED]++;
		r->counts[BYTES] += v->init->nbytes;
	}
	return PAI_OK;
}

const pai_pass pai_pass_deduplicate_initializers = {
	.name = "deduplicate-initializers",
	.summary = "keep equal initialisers once",
	.needs = PAI_USES,
	.exactness = PAI_EXACT,
	.once = true,
	.stats = (const char *const[]){[MERGED] = "merged",
				       [BYTES] = "bytes saved",
				       [DENDRITE] = "kept: of a dendrite",
				       NULL},
	.run = run,
};
