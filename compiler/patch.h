/* patch.h -- the inside of a patch, shared by patch.c (recording) and patch_apply.c. */
#ifndef PAI_PATCH_H
#define PAI_PATCH_H

#include "compiler/compiler.h"

typedef enum pai_edit_kind {                      /* what it uses of pai_edit */
			     PAI_EDIT_NODE,       /* node: new */
			     PAI_EDIT_INIT,       /* value: new, with init */
			     PAI_EDIT_NAME,       /* value, text */
			     PAI_EDIT_REPLACE,    /* value -> now */
			     PAI_EDIT_REWIRE,     /* node.in[slot] -> now */
			     PAI_EDIT_SUCCEED,    /* node: new; from */
			     PAI_EDIT_ERASE,      /* node */
			     PAI_EDIT_ERASE_INIT, /* value */
			     PAI_EDIT_SET_INIT,   /* value, tensor */
			     PAI_EDIT_FUNCTION,   /* function */
			     PAI_EDIT_IMPORT,     /* key: domain; by: version */
			     PAI_EDIT_COUNT,      /* counter, by */
			     PAI_EDIT_PROP, /* node (NULL: the graph), key, text (NULL: removed) */
} pai_edit_kind;

typedef struct pai_edit {
	pai_edit_kind kind;
	pai_node *node;
	const pai_node *from;
	pai_value *value, *now;
	pai_tensor *tensor;
	pai_function *function;
	const char *key, *text;
	int slot;
	uint64_t *counter, by;
} pai_edit;

typedef struct pai_group { /* one rewrite */
	const char *what;
	pai_node *at;
	PAI_VEC(pai_edit *) edits;
} pai_group;

struct pai_patch {
	pai_graph *graph;
	pai_arena *arena; /* the model's */
	PAI_VEC(pai_group *) groups;
};

/* Puts the nodes of g and `fresh` into one topological order: each fresh node right before `at` of
 * its position where that is possible, the others in their old order. False: there is a cycle. */
typedef struct pai_placed {
	pai_node *node, *at; /* at NULL: at the end */
} pai_placed;
bool pai_order_nodes(pai_arena *scratch, pai_graph *g, int n_fresh, const pai_placed *fresh);

#endif
