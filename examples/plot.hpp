// A picture of curves, as SVG.
#pragma once

#include <attenta/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace plot {

struct Curve {
    std::string name;
    std::vector<double> y;  ///< may end before x
};

/// Curves over the same x, which rise and are drawn by their logarithm; y from 0 to `top`, and cut off there.
struct Panel {
    std::string title;
    std::vector<double> x = {};
    std::vector<std::string> x_labels = {};
    double top = 1;
    std::vector<Curve> curves = {};
};

/// Panels side by side, whose curves have the same names. Throws attenta::Error where the file cannot be written.
inline void draw(const std::vector<Panel>& panels, const std::string& caption, const std::filesystem::path& path) {
    static constexpr const char* colours[] = {"#7f7f7f", "#0072b2", "#d55e00", "#009e73",
                                              "#b79f00", "#cc79a7", "#000000"};
    static constexpr const char* dashes[] = {"", "6 3", "2 3", "10 3 2 3"};
    constexpr int width = 420, height = 300, left = 50, right = 20, top = 40, bottom = 40, legend = 24;
    const auto n = static_cast<int>(panels.size()), rows = static_cast<int>(panels.at(0).curves.size());
    const auto stroke = [&](std::size_t curve) {
        return std::string("fill='none' stroke-width='2' stroke='") + colours[curve % std::size(colours)] +
               "' stroke-dasharray='" + dashes[curve / std::size(colours) % std::size(dashes)] + "'";
    };
    std::ofstream out(path);
    out << "<svg xmlns='http://www.w3.org/2000/svg' width='" << n * width << "' height='" << height + rows * legend
        << "' font-family='sans-serif' font-size='12'>\n<rect width='100%' height='100%' fill='white'/>\n";
    for (int panel = 0; panel < n; ++panel) {
        const Panel& p = panels[static_cast<std::size_t>(panel)];
        const double range = std::max(std::log(p.x.back() / p.x.front()), 1e-9);
        const auto x_of = [&](double x) { return left + std::log(x / p.x.front()) / range * (width - left - right); };
        const auto y_of = [&](double y) {
            return height - bottom - std::clamp(y / p.top, 0.0, 1.0) * (height - top - bottom);
        };
        out << "<g transform='translate(" << panel * width << ",0)'>\n<text x='" << left << "' y='20'>" << p.title
            << "</text>\n";
        for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
            const double y = y_of(share * p.top);
            out << "<line x1='" << left << "' x2='" << width - right << "' y1='" << y << "' y2='" << y
                << "' stroke='#ddd'/><text x='" << left - 6 << "' y='" << y + 4 << "' text-anchor='end'>"
                << share * p.top << "</text>\n";
        }
        for (std::size_t i = 0; i < p.x.size(); ++i)
            out << "<text x='" << x_of(p.x[i]) << "' y='" << height - bottom + 18 << "' text-anchor='middle'>"
                << p.x_labels[i] << "</text>\n";
        for (std::size_t c = 0; c < p.curves.size(); ++c) {
            out << "<polyline " << stroke(c) << " points='";
            for (std::size_t i = 0; i < std::min(p.x.size(), p.curves[c].y.size()); ++i)
                out << x_of(p.x[i]) << ',' << y_of(p.curves[c].y[i]) << ' ';
            out << "'/>\n";
        }
        out << "</g>\n";
    }
    for (int row = 0; row < rows; ++row) {
        const int y = height + row * legend + 2;
        const auto curve = static_cast<std::size_t>(row);
        out << "<path " << stroke(curve) << " d='M" << left << ' ' << y << "h18'/><text x='" << left + 26 << "' y='"
            << y + 4 << "'>" << panels[0].curves[curve].name << "</text>\n";
    }
    out << "<text x='" << width * n - right << "' y='" << height + 6 << "' text-anchor='end'>" << caption
        << "</text>\n</svg>\n";
    out.flush();
    if (!out) attenta::fail("plot", "cannot write " + path.string());
}

}  // namespace plot
