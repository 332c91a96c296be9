// Makes a program smaller while something stays true of it.
#pragma once

#include <functional>
#include <string>

namespace differential {

/// Leaves out lines, blocks and block headers as long as `still(program)`.
std::string shrink(std::string program, const std::function<bool(const std::string&)>& still);

/// The program with numbered lines, and both traces beside each other, each event with its line.
std::string side_by_side(const std::string& program, const std::string& python, const std::string& here);

}  // namespace differential
