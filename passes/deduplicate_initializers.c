/* deduplicate_initializers.c -- initialisers with equal type, shape and contents become one.
 *
 * Large contents are compared only when a sample of their bytes agrees, so that a file with many
 * different weights is not read through. Parameters of dendrites, which start equal and are trained
 * apart, stay apart; other tensors that training must keep apart are kept so by leaving this pass
 * out.
 */
#include "passes/dendrites.h"
#include <string.h>

enum { MERGED, BYTES, DENDRITE };
enum { SAMPLES = 64, SAMPLE = 8 };

/* Type, shape, and some bytes spread evenly. */
static uint64_t hash_tensor(const pai_tensor *t)
{
	uint64_t h = 0xcbf29ce484222325u ^ t->dtype;
	for (int i = 0; i < t->rank; i++)
		h = (h ^ (uint64_t)t->dims[i]) * 0x100000001b3u;
	size_t step = t->nbytes / SAMPLES < SAMPLE ? SAMPLE : t->nbytes / SAMPLES;
	for (size_t at = 0; t->dtype != PAI_STRING && at + SAMPLE <= t->nbytes; at += step) {
		uint64_t word;
		memcpy(&word, (const char *)t->data + at, SAMPLE);
		h = (h ^ word) * 0x100000001b3u;
		h ^= h >> 31;
	}
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
		uint64_t h = hash_tensor(v->init);
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
