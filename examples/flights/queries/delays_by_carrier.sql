SELECT
    flights.carrier,
    airlines.name AS airline,
    count(*) AS flights,
    avg(flights.arr_delay) AS mean_delay,
    avg(CASE WHEN flights.arr_delay > 15 THEN 1.0 ELSE 0.0 END) AS late_share,
    max(flights.arr_delay) AS worst_delay
FROM flights
JOIN airlines ON airlines.carrier = flights.carrier
WHERE flights.arr_delay IS NOT NULL
GROUP BY flights.carrier, airlines.name
ORDER BY mean_delay DESC
