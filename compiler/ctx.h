/* ctx.h -- the private half of pai_ctx, shared by ctx.c, diag.c and dim.c. */
#ifndef PAI_CTX_H
#define PAI_CTX_H

#include "compiler/compiler.h"

struct pai_dims; /* dim.c: the symbolic expressions */

struct pai_ctx_private {
	pai_arena *arena;
	PAI_VEC(pai_diag *) diags;
	struct pai_dims *dims;
};

extern const pai_io pai_io_posix; /* io.c */

#endif
