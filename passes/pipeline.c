/* pipeline.c -- the tables of passes, and pipelines as text. */
#include "passes/passes.h"

#define PASS(x) extern const pai_pass pai_pass_##x;
#include "passes/passes.def"
#undef PASS

static const pai_pass *const passes[] = {
#define PASS(x) &pai_pass_##x,
#include "passes/passes.def"
#undef PASS
	NULL};

static const pai_option no_options[] = {{.name = NULL}};

static const pai_table table = PAI_TABLE_OF_POINTERS(passes);

const pai_pass *pai_pass_get(int i)
{
	return pai_table_get(table, i);
}

const pai_pass *pai_pass_find(const char *name)
{
	return pai_table_find(table, name);
}

const char *pai_pipeline_default(void)
{
	return "eliminate-nop,fold-constants,eliminate-nop,deduplicate-initializers,"
	       "eliminate-common-subexpressions,fuse-matmul-add,fold-batchnorm,eliminate-dead";
}

pai_status pai_pipeline_parse(pai_ctx *ctx, pai_arena *a, const char *text, pai_pipeline *out)
{
	pai_pipeline p;
	PAI_TRY(pai_items_parse(ctx, a, text ? text : pai_pipeline_default(), &p.items, &p.n));
	p.passes = PAI_NEWS(a, const pai_pass *, p.n);
	for (int i = 0; i < p.n; i++) {
		const char *name = p.items[i].name;
		p.passes[i] = pai_pass_find(name);
		if (!p.passes[i])
			return pai_fail(ctx, PAI_E_unknown_name, pai_at_nothing(),
					"no pass is named \"%s\"%s", pai_escape(a, name),
					pai_did_you_mean(ctx, pai_table_nearest(table, name)));
		const pai_option *options = p.passes[i]->options;
		PAI_TRY(pai_item_check(ctx, &p.items[i], options ? options : no_options));
	}
	*out = p;
	return PAI_OK;
}
