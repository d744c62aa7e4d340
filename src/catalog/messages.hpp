// What messages show of the contents of files.
#pragma once

#include <attenta/core/config.hpp>

#include <string>
#include <string_view>

ATTENTA_BEGIN

/// At most some 100 bytes of the text, control characters escaped: files of strangers must neither flood nor steer a
/// terminal.
std::string shown(std::string_view text);

/// The same between quotes, for names.
std::string in_quotes(std::string_view name);

ATTENTA_END
