/* patch.h -- the inside of a patch, shared by patch.c (recording), patch_check.c, patch_apply.c and
 * patch_order.c. */
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

/* ---- patch_check.c: whether a group may be applied ---- */

typedef PAI_VEC(pai_use) pai_use_list;

typedef struct pai_track {      /* of one value */
	pai_use_list uses;      /* all places that ever read it */
	int64_t readers;        /* places that do */
	pai_value *replacement; /* NULL: still itself */
	int output;             /* its first place among the graph's outputs + 1; 0: none */
	/* What the group under check would make of it; valid where `group` is its number. */
	int group;
	int64_t readers_then;
	pai_value *replaced_by;
	bool output_then;
} pai_track;

typedef struct pai_order_key {
	int place, number;
} pai_order_key;

typedef struct pai_apply { /* a patch being applied */
	pai_patch *patch;
	pai_graph *g;
	pai_ctx *ctx;
	pai_arena *scratch;
	PAI_VEC(pai_track) tracks; /* by value id */
	int *next_output; /* [outputs of the graph]: the next place of the same value + 1 */
	PAI_VEC(pai_placed) fresh;
	pai_map *node_names; /* in use in the graph */
	int group;           /* under check, from 1 */
	/* What every node reads stands before it. Nodes that were there have their index + 1 as
	 * place; new ones that of the node they are put before, and the order they were made in. */
	pai_arena *numbers;                /* the next two are in it */
	int *places;                       /* [first_fresh] by node id */
	PAI_VEC(pai_order_key) fresh_keys; /* by node id - first_fresh */
	int first_fresh, n_placed;
} pai_apply;

pai_track *pai_track_of(const pai_apply *a,
			const pai_value *v); /* NULL: of another graph, or new */
/* What took the place of the value, or itself. */
pai_value *pai_patch_resolve(const pai_apply *a, pai_value *v);
/* Visits every graph below the node. */
void pai_walk_bodies(const pai_node *n, pai_status (*visit)(void *, pai_graph *), void *payload);
/* The nodes of the graph are in order now. */
void pai_patch_number(pai_apply *a);
/* Where the new nodes of a group go. */
pai_order_key pai_patch_key(const pai_apply *a, const pai_group *group);
/* Did an earlier group take away what this one is about, or make it impossible? `first`: there was
 * none. */
bool pai_patch_stale(const pai_apply *a, const pai_group *group, bool first);
/* *in_order: once it is applied, what every node reads still stands before it. */
PAI_MUST_USE pai_status pai_patch_check(pai_apply *a, const pai_group *group, bool *in_order);

#endif
