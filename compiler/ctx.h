/* ctx.h -- the private half of pai_ctx, shared by the files of this folder that keep
 * something in it. */
#ifndef PAI_CTX_H
#define PAI_CTX_H

#include "compiler/compiler.h"

struct pai_dims; /* dim.c: the symbolic expressions */

struct pai_ctx_private {
	pai_arena *arena;
	PAI_VEC(pai_diag *) diags;
	struct pai_dims *dims;
	pai_map *defaults; /* graph.c: defaults of attributes, by their text in the tables, */
	bool *known;       /* ... of the operators, by id, that a model so far has */
	size_t n_known;
	struct pai_mapping *mappings; /* io.c: the files that are mapped now */
};

/* graph.c: reads the defaults of the operator's attributes, so that later look-ups only read. NULL
 * is fine. */
void pai_ctx_know_op(pai_ctx *ctx, const pai_op *op);

extern const pai_io pai_io_posix; /* io.c */
/* open_beneath where the kernel has no openat2: follows no links at all. */
int pai_open_by_steps(int dirfd, const char *path, int flags);

struct pai_mapping {                      /* a file held by some arena */
	struct pai_mapping *next, **link; /* link: what points at this one */
	pai_ctx *ctx;
	pai_file file;
};

/* The mapped file that holds all these bytes, or NULL. */
const pai_file *pai_file_holding(const pai_ctx *ctx, const void *bytes, size_t n);

#endif
