/* cli_list.c -- pai-opt --list-<what>: the tables a user picks from, printed from the tables.
 *
 * Every table becomes an array of JSON objects; the text form is a view of the same objects.
 */
#include "compiler/cli.h"
#include <string.h>

static const char *const option_types[] = {
	[PAI_OPT_INT] = "int",       [PAI_OPT_FLOAT] = "float",   [PAI_OPT_BOOL] = "bool",
	[PAI_OPT_STRING] = "string", [PAI_OPT_FLOATS] = "floats",
};

static cJSON *row(cJSON *rows, const char *name, const char *summary)
{
	cJSON *r = cJSON_CreateObject();
	cJSON_AddStringToObject(r, "name", name);
	if (summary)
		cJSON_AddStringToObject(r, "summary", summary);
	cJSON_AddItemToArray(rows, r);
	return r;
}

static void row_options(cJSON *r, const pai_option *options)
{
	cJSON *list = cJSON_AddArrayToObject(r, "options");
	for (const pai_option *o = options; o && o->name; o++) {
		cJSON *x = row(list, o->name, o->help);
		cJSON_AddStringToObject(x, "type", option_types[o->type]);
		if (o->def)
			cJSON_AddStringToObject(x, "default", o->def);
		if (o->required)
			cJSON_AddTrueToObject(x, "required");
		if (o->min != 0 || o->max != 0) {
			cJSON_AddNumberToObject(x, "min", o->min);
			cJSON_AddNumberToObject(x, "max", o->max);
		}
		if (o->choices)
			cJSON_AddStringToObject(x, "choices", o->choices);
	}
}

static void passes(cJSON *rows)
{
	static const char *const exactness[] = {
		[PAI_EXACT] = "exact", [PAI_ROUNDING] = "rounding", [PAI_CHANGES] = "changes"};
	for (int i = 0; pai_pass_get(i); i++) {
		const pai_pass *p = pai_pass_get(i);
		cJSON *r = row(rows, p->name, p->summary);
		cJSON_AddStringToObject(r, "outputs", exactness[p->exactness]);
		row_options(r, p->options);
	}
}

static void ops(cJSON *rows)
{
	for (int i = 0; i < PAI_OP_COUNT; i++) {
		const pai_op *op = pai_op_row(i);
		if (strcmp(op->domain, PAI_DOMAIN_INTERNAL) == 0)
			continue;
		cJSON *r = row(rows, op->name, NULL);
		cJSON_AddStringToObject(r, "domain", op->domain);
		cJSON_AddNumberToObject(r, "since", op->since);
		cJSON_AddBoolToObject(r, "deprecated", op->traits & PAI_TRAIT_DEPRECATED);
		cJSON_AddBoolToObject(r, "shape", pai_shape_rule(op) != NULL);
		cJSON_AddBoolToObject(r, "kernel", pai_op_kernel(op) != NULL);
		cJSON_AddBoolToObject(r, "gradient", pai_op_grad(op) != NULL);
	}
}

static void transforms(cJSON *rows)
{
	for (int i = 0; pai_transform_get(i); i++) {
		const pai_transform *t = pai_transform_get(i);
		const pai_op *op = pai_op_latest(PAI_DOMAIN_TRANSFORM, t->op_type);
		cJSON *r = row(rows, t->rule_name, t->op_type);
		cJSON *list = cJSON_AddArrayToObject(r, "options");
		for (const pai_op_attr *a = op->attrs; a->name; a++) {
			cJSON *x = row(list, a->name, NULL);
			if (a->def)
				cJSON_AddStringToObject(x, "default", a->def);
		}
	}
}

static void losses(cJSON *rows)
{
	for (int i = 0; pai_loss_get(i); i++)
		row_options(row(rows, pai_loss_get(i)->name, pai_loss_get(i)->summary),
			    pai_loss_get(i)->options);
}

static void optimizers(cJSON *rows)
{
	for (int i = 0; pai_optimizer_get(i); i++)
		row_options(row(rows, pai_optimizer_get(i)->name, pai_optimizer_get(i)->summary),
			    pai_optimizer_get(i)->options);
}

static void readers(cJSON *rows)
{
	for (int i = 0; pai_reader_get(i); i++)
		row(rows, pai_reader_get(i)->name, pai_reader_get(i)->summary);
}

static void schedules(cJSON *rows)
{
	for (int i = 0; pai_schedule_get(i); i++)
		row_options(row(rows, pai_schedule_get(i)->name, pai_schedule_get(i)->summary),
			    pai_schedule_get(i)->options);
}

static void metrics(cJSON *rows)
{
	for (int i = 0; pai_metric_get(i); i++) {
		const pai_metric *m = pai_metric_get(i);
		static const char *const labels[] = {[PAI_ANY_LABELS] = "any",
						     [PAI_CLASSES] = "classes",
						     [PAI_TARGETS] = "targets"};
		cJSON *r = row(rows, m->name, m->summary);
		cJSON_AddStringToObject(r, "better", m->higher_is_better ? "higher" : "lower");
		cJSON_AddStringToObject(r, "labels", labels[m->of]);
	}
}

static void targets(cJSON *rows)
{
	for (int i = 0; pai_target_get(i); i++) {
		const pai_target *t = pai_target_get(i);
		cJSON *r = row(rows, t->name, t->summary);
		cJSON_AddNumberToObject(r, "ir_version", t->ir);
		cJSON_AddNumberToObject(r, "opset", t->opset);
		cJSON_AddNumberToObject(r, "random_opset", t->random_opset);
		cJSON_AddBoolToObject(r, "functions", t->functions);
		cJSON_AddStringToObject(r, "domains", t->domains);
	}
}

static void errors(cJSON *rows)
{
	static const struct {
		int number;
		const char *name;
		pai_status status;
		const char *hint;
	} table[] = {
#define ERROR(number, name, status, hint) {number, #name, status, hint},
#include "compiler/errors.def"
#undef ERROR
	};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		char code[16];
		snprintf(code, sizeof code, "E%04d", table[i].number);
		cJSON *r = row(rows, code, table[i].name);
		cJSON_AddNumberToObject(r, "exit", table[i].status);
		if (table[i].hint)
			cJSON_AddStringToObject(r, "hint", table[i].hint);
	}
}

static void limits(cJSON *rows)
{
	static const struct {
		const char *name;
		uint64_t value;
		const char *meaning;
	} table[] = {
#define LIMIT(name, value, meaning) {#name, value, meaning},
#include "compiler/limits.def"
#undef LIMIT
	};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		char name[64];
		int n = snprintf(name, sizeof name, "--limit-%s", table[i].name);
		for (int k = 0; k < n; k++)
			name[k] = (char)(name[k] == '_' ? '-' : name[k]);
		cJSON *r = row(rows, name, table[i].meaning);
		cJSON_AddNumberToObject(r, "default", (double)table[i].value);
	}
}

static const struct list {
	const char *name;
	void (*fill)(cJSON *rows);
} lists[] = {
	{"passes", passes},       {"ops", ops},         {"transforms", transforms},
	{"targets", targets},     {"losses", losses},   {"optimizers", optimizers},
	{"schedules", schedules}, {"readers", readers}, {"metrics", metrics},
	{"errors", errors},       {"limits", limits},   {NULL, NULL},
};

const char *cli_list_name(int i)
{
	return lists[i].name;
}

static const char *text_of(const cJSON *x, const char *key)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(x, key));
	return s ? s : "";
}

static void print_option(cli *c, const cJSON *x)
{
	const char *def = text_of(x, "default"), *choices = text_of(x, "choices");
	const cJSON *min = cJSON_GetObjectItem(x, "min"), *max = cJSON_GetObjectItem(x, "max");
	cli_print(c, "    %s=%s", text_of(x, "name"), *def ? def : text_of(x, "type"));
	if (*text_of(x, "summary"))
		cli_print(c, "  %s", text_of(x, "summary"));
	if (*choices)
		cli_print(c, " (%s)", choices);
	if (min && max)
		cli_print(c, " (%g to %g)", min->valuedouble, max->valuedouble);
	cli_print(c, "%s\n", cJSON_GetObjectItem(x, "required") ? " (required)" : "");
}

static void print_row(cli *c, const cJSON *r)
{
	const cJSON *x, *list = cJSON_GetObjectItem(r, "options");
	if (cJSON_GetObjectItem(r, "since")) {
		const char *domain = text_of(r, "domain");
		cli_print(c, "%s%s%s-%d", domain, *domain ? "." : "", text_of(r, "name"),
			  (int)cJSON_GetNumberValue(cJSON_GetObjectItem(r, "since")));
		cJSON_ArrayForEach(x, r) if (cJSON_IsTrue(x)) cli_print(c, " %s", x->string);
		cli_print(c, "\n");
		return;
	}
	cli_print(c, "%-32s %s", text_of(r, "name"), text_of(r, "summary"));
	const cJSON *def = cJSON_GetObjectItem(r, "default");
	if (def)
		cli_print(c, " (default %.0f)", def->valuedouble);
	cli_print(c, "\n");
	cJSON_ArrayForEach(x, list) print_option(c, x);
}

pai_status cli_list(cli *c, const char *what, bool json)
{
	const struct list *l = pai_table_find(PAI_TABLE(lists), what);
	const char *near = pai_table_nearest(PAI_TABLE(lists), what);
	if (near)
		near = pai_arena_printf(c->arena, "--list-%s", near);
	if (!l)
		return pai_fail(c->ctx, PAI_E_unknown_option, pai_at_nothing(),
				"there is no --list-%.40s%s", what, pai_did_you_mean(c->ctx, near));
	cJSON *rows = cJSON_CreateArray(), *x;
	l->fill(rows);
	if (json)
		cli_print_json(c, rows);
	else
		cJSON_ArrayForEach(x, rows) print_row(c, x);
	cJSON_Delete(rows);
	return PAI_OK;
}
