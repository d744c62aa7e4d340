// What the tests of low rank need.
#pragma once

#include "support/matrices.hpp"
