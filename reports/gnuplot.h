/**
 * @file gnuplot.h
 * One run of gnuplot: a whole script in, its exit status and complaints out.
 *
 * The program is found as `gnuplot` on PATH and started without a shell and without the user's own
 * settings. A gnuplot that dies while we still write is an error message, never a signal. No global
 * state; any number of threads may run their own.
 */
#ifndef PP_REPORTS_GNUPLOT_H
#define PP_REPORTS_GNUPLOT_H

#include "costmodel/base.h"

/**
 * Runs a script to its end.
 * @return PP_OK, PP_E_ENV (no gnuplot: what to install; or it failed: what it said),
 *         PP_E_INTERRUPTED (gnuplot was ended by SIGINT or SIGTERM), PP_E_NOMEM
 */
enum pp_status pp_gnuplot_run(const char *script, size_t size, struct pp_err *err);

/** Appends `s` as a gnuplot string, quotes included. Control characters become spaces. The only way
 *  in which text gets into a script. */
void pp_gnuplot_quote(struct pp_text *script, const char *s);

#endif
