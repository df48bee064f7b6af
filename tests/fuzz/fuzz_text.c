/* fuzz_text.c -- the text form: what is read is printed, and what is printed is read again and
 * prints the same. */
#include "fuzz.h"
#include <assert.h>

static void put(void *payload, const char *s, size_t n)
{
	fuzz_text *t = payload;
	t->at = realloc(t->at, t->n + n + 1);
	assert(t->at);
	memcpy(t->at + t->n, s, n);
	t->n += n;
	t->at[t->n] = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	pai_ctx *ctx = fuzz_ctx();
	pai_model *m = NULL, *again = NULL;
	fuzz_text first = {NULL, 0}, second = {NULL, 0};
	if (pai_text_parse(ctx, "fuzz", (const char *)data, size, &m) == PAI_OK) {
		pai_text_print(m, 0, &first, put);
		assert(pai_text_parse(ctx, "fuzz", first.at, first.n, &again) == PAI_OK);
		pai_text_print(again, 0, &second, put);
		assert(first.n == second.n && memcmp(first.at, second.at, first.n) == 0);
	}
	free(first.at);
	free(second.at);
	pai_model_free(again);
	pai_model_free(m);
	pai_ctx_free(ctx);
	return 0;
}
