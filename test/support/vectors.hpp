// Vectors in the messages of failed checks: "[1, 2]" instead of "{?}".
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

template <class T>
struct doctest::StringMaker<std::vector<T>> {
  static doctest::String convert(const std::vector<T>& values) {
    doctest::String text = "[";
    for (std::size_t i = 0; i < values.size(); ++i)
      text +=
          (i == 0 ? doctest::String() : doctest::String(", ")) + doctest::toString(T(values[i]));
    return text + "]";
  }
};
