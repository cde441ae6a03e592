/* The version that every program prints with --version. */
#pragma once

#define MILENA_VERSION "0.1.0"
