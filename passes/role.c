/* role.c -- the role that metadata of ours ("pai.*") gives a node: part of a dendrite, rule of a
 * transform. Passes that merge nodes keep apart what has different roles; metadata of others, such
 * as an exporter's stack traces, does not count. */
#include "passes/passes.h"
#include <string.h>

static bool of_ours(const pai_prop *p)
{
	return strncmp(p->key, "pai.", 4) == 0;
}

bool pai_has_role(const pai_node *n)
{
	for (int i = 0; i < n->props.n; i++)
		if (of_ours(&n->props.at[i]))
			return true;
	return false;
}

/* Every entry of ours that a has, b has as well. */
static bool shares_role(const pai_node *a, const pai_node *b)
{
	for (int i = 0; i < a->props.n; i++) {
		const pai_prop *p = &a->props.at[i];
		const char *other = of_ours(p) ? pai_prop_get(&b->props, p->key) : p->value;
		if (!other || strcmp(other, p->value) != 0)
			return false;
	}
	return true;
}

bool pai_same_role(const pai_node *a, const pai_node *b)
{
	return shares_role(a, b) && shares_role(b, a);
}
