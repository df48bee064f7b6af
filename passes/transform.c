/* transform.c -- the transforms as a table, by the names that rules use, and what a model with
 * transform nodes carries for other runtimes: a function each, the import of their domain, an IR
 * version that has functions.
 */
#include "passes/passes.h"
#include <stdlib.h>
#include <string.h>

static const pai_transform rows[] = {
#define OP(...)
#define TRANSFORM(name, since, traits, in, out, attr, types, shape, kernel, grad, fast, rule, \
		  body)                                                                       \
	{#rule, #name, &pai_body_##body},
#include "schemas/all_ops.def"
#undef TRANSFORM
#undef OP
	{NULL, NULL, NULL}};

const pai_table pai_transform_table = PAI_TABLE(rows);

const pai_transform *pai_transform_get(int i)
{
	return pai_table_get(pai_transform_table, i);
}

const pai_transform *pai_transform_find(const char *rule_name)
{
	return pai_table_find(pai_transform_table, rule_name);
}

const pai_transform *pai_transform_of(const pai_node *n)
{
	for (int i = 0; rows[i].rule_name; i++)
		if (pai_node_is_in(n, PAI_DOMAIN_TRANSFORM, rows[i].op_type))
			return &rows[i];
	return NULL;
}

pai_status pai_transform_function(pai_model *m, const pai_transform *t, bool rockpool,
				  int64_t opset, pai_function **out)
{
	const char *text = pai_arena_printf(
		m->arena, "<domain: \"" PAI_DOMAIN_TRANSFORM "\", opset_import: [\"\" : %d]> %s",
		(int)opset, rockpool ? t->body->rockpool : t->body->none);
	return pai_text_parse_function(m->ctx, m, text, out);
}

typedef struct usage {
	const char *op_type; /* NULL: any of the domain */
	bool found;
} usage;

static pai_status look_for(void *payload, pai_graph *g)
{
	usage *u = payload;
	for (int i = 0; i < g->nodes.n; i++)
		if (strcmp(g->nodes.at[i]->domain, PAI_DOMAIN_TRANSFORM) == 0 &&
		    (!u->op_type || strcmp(g->nodes.at[i]->op_type, u->op_type) == 0))
			u->found = true;
	return PAI_OK;
}

static bool used(pai_model *m, const char *op_type)
{
	usage u = {.op_type = op_type};
	(void)pai_graph_walk(m->graph, look_for, &u);
	for (int i = 0; i < m->functions.n && !u.found; i++)
		(void)pai_graph_walk(m->functions.at[i]->graph, look_for, &u);
	return u.found;
}

static void drop_functions(pai_model *m)
{
	pai_function **kept = PAI_NEWS(m->arena, pai_function *, m->functions.n + 1);
	int n = 0;
	for (int i = 0; i < m->functions.n; i++) {
		pai_function *f = m->functions.at[i];
		bool ours = false;
		for (int k = 0; rows[k].rule_name; k++)
			ours |= strcmp(f->domain, PAI_DOMAIN_TRANSFORM) == 0 &&
				strcmp(f->name, rows[k].op_type) == 0;
		if (!ours || used(m, f->name))
			kept[n++] = f;
	}
	pai_model_keep_functions(m, n, kept);
}

static void drop_import(pai_model *m)
{
	for (int i = 0; i < m->functions.n; i++)
		if (strcmp(m->functions.at[i]->domain, PAI_DOMAIN_TRANSFORM) == 0)
			return;
	int kept = 0;
	for (int i = 0; i < m->n_opsets; i++)
		if (strcmp(m->opsets[i].domain, PAI_DOMAIN_TRANSFORM) != 0)
			m->opsets[kept++] = m->opsets[i];
	m->n_opsets = kept;
}

void pai_transform_tidy(pai_model *m)
{
	drop_functions(m);
	if (used(m, NULL))
		return;
	drop_import(m);
	const char *ir = pai_prop_get(&m->props, PAI_PROP_IR_VERSION);
	if (!ir)
		return;
	m->ir_version = strtoll(ir, NULL, 10);
	int kept = 0;
	for (int i = 0; i < m->props.n; i++)
		if (strcmp(m->props.at[i].key, PAI_PROP_IR_VERSION) != 0)
			m->props.at[kept++] = m->props.at[i];
	m->props.n = kept;
}
