#ifndef PhysicsTools_NanoForge_test_records_h
#define PhysicsTools_NanoForge_test_records_h

// Particles with just those methods of reco::GenParticle, and an event with those of HepMC::GenEvent, that plugins use.

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace records {

  struct Particle {
    int id;
    double x, y, z, e;
    std::vector<int> mothers;

    struct Ref {
      int place;
      std::size_t key() const { return place; }
    };
    int pdgId() const { return id; }
    double px() const { return x; }
    double py() const { return y; }
    double pz() const { return z; }
    double energy() const { return e; }
    std::size_t numberOfMothers() const { return mothers.size(); }
    Ref motherRef(std::size_t m) const { return {mothers[m]}; }
  };

  using Particles = std::vector<Particle>;

  class HepMCEvent {
  public:
    struct Entry;

    struct Vertex {
      std::vector<Entry*> in;
      std::vector<Entry*>::const_iterator particles_in_const_begin() const { return in.begin(); }
      std::vector<Entry*>::const_iterator particles_in_const_end() const { return in.end(); }
    };

    struct Entry {
      struct Momentum {
        const Particle& p;
        double px() const { return p.x; }
        double py() const { return p.y; }
        double pz() const { return p.z; }
        double e() const { return p.e; }
      };
      Particle particle;
      int place;
      Vertex vertex;

      int pdg_id() const { return particle.id; }
      int barcode() const { return 10 + place; }
      Momentum momentum() const { return {particle}; }
      const Vertex* production_vertex() const { return vertex.in.empty() ? nullptr : &vertex; }
    };

    explicit HepMCEvent(const Particles& particles) {
      for (const Particle& p : particles) {
        owned_.push_back(std::make_unique<Entry>(Entry{p, static_cast<int>(owned_.size()), {}}));
        entries_.push_back(owned_.back().get());
      }
      for (Entry* entry : entries_)
        for (int mother : entry->particle.mothers)
          entry->vertex.in.push_back(entries_[mother]);
    }

    std::vector<Entry*>::const_iterator particles_begin() const { return entries_.begin(); }
    std::vector<Entry*>::const_iterator particles_end() const { return entries_.end(); }

  private:
    std::vector<std::unique_ptr<Entry>> owned_;
    std::vector<Entry*> entries_;
  };

}  // namespace records

#endif
