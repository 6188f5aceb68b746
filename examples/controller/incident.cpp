#include "incident.hpp"

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "acer_controller.hpp"

const Event* Incident::in(int tick, Event::Kind kind) const {
  for (const Event& event : events) {
    if (event.kind == kind && event.first <= tick && tick <= event.last) return &event;
  }
  return nullptr;
}

Incident read_incident(const std::string& path) {
  using Kind = Event::Kind;
  static const std::map<std::string, Kind> kinds = {
      {"lost", Kind::lost},   {"nan", Kind::nan},     {"frozen", Kind::frozen}, {"repeated", Kind::repeated},
      {"jump", Kind::jump},   {"old", Kind::old},     {"late", Kind::late},     {"clock", Kind::clock},
      {"broken", Kind::broken}, {"signal", Kind::signal}, {"disk", Kind::disk}};
  std::ifstream file(path);
  if (!file || std::filesystem::is_directory(path)) throw acer::InputError("--incident=" + path + " cannot be read");
  Incident incident;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind, surplus;
    Event event{};
    const bool complete = static_cast<bool>(words >> kind >> event.first >> event.last >> event.number);
    const auto found = kinds.find(kind);
    if (!complete || words >> surplus || found == kinds.end() || event.first < 1 || event.last < event.first) {
      throw acer::InputError("--incident=" + path + ": cannot use '" + line + "'; expected KIND FIRST LAST NUMBER");
    }
    event.kind = found->second;
    incident.events.push_back(event);
  }
  return incident;
}
