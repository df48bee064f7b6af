/* fuzz_options.c -- the grammar of pipelines: what is accepted prints canonically, and that reads
 * back to the same print. */
#include "fuzz.h"
#include "passes/passes.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	pai_ctx *ctx = fuzz_ctx();
	pai_arena *a = pai_arena_new(ctx);
	char *text = pai_arena_strndup(a, (const char *)data, size);
	pai_item *items, *again;
	pai_pipeline p;
	int n, n2;
	if (pai_items_parse(ctx, a, text, &items, &n) == PAI_OK) {
		const char *first = pai_items_print(a, items, n);
		assert(pai_items_parse(ctx, a, first, &again, &n2) == PAI_OK);
		assert(n == n2 && strcmp(first, pai_items_print(a, again, n2)) == 0);
	}
	(void)!pai_pipeline_parse(ctx, a, text, &p);
	pai_arena_free(a);
	pai_ctx_free(ctx);
	return 0;
}
