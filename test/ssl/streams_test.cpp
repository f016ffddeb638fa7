#include <fiber/ssl.hpp>
