/* transform.c -- the transforms as a table, by the names that rules use. */
#include "passes/passes.h"
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

const pai_transform *pai_transform_get(int i)
{
	return rows[i].rule_name ? &rows[i] : NULL;
}

const pai_transform *pai_transform_find(const char *rule_name)
{
	for (int i = 0; rows[i].rule_name; i++)
		if (strcmp(rows[i].rule_name, rule_name) == 0)
			return &rows[i];
	return NULL;
}

const pai_transform *pai_transform_of(const pai_node *n)
{
	for (int i = 0; rows[i].rule_name; i++)
		if (pai_node_is_in(n, PAI_DOMAIN_TRANSFORM, rows[i].op_type))
			return &rows[i];
	return NULL;
}
